"""Every answer of every generated model equals TensorFlow's own, computed in another process."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import savedmodel
from replay import RENAMED_INPUTS, ZOO, replay_calls


def test_names_are_the_generated_ones(models: Path) -> None:
    assert {path.parent.name for path in models.glob("*/calls.pkl")} == set(ZOO)
    assert len(ZOO) >= 25


@pytest.mark.parametrize("name", ZOO)
def test_answers(name: str, models: Path, calls: Callable[[str], list[dict[str, Any]]]) -> None:
    replay_calls(
        name,
        calls(name),
        lambda tags: savedmodel.load(models / name / "saved_model", tags=tags),
    )


@pytest.mark.parametrize("name", ZOO)
def test_specs(name: str, models: Path, calls: Callable[[str], list[dict[str, Any]]]) -> None:
    """Names, dtypes and shapes are what TensorFlow's own signature functions say."""
    path = models / name / "tf_specs.pkl"
    if not path.exists():
        pytest.skip("TensorFlow's eager loader cannot express this model's signatures")
    renamed = RENAMED_INPUTS.get(name, {})
    with savedmodel.load(models / name / "saved_model", tags=calls(name)[0]["tags"]) as model:
        for key, expected in pickle.loads(path.read_bytes()).items():
            signature = model.signatures[key]
            positional, inputs = signature.structured_input_signature
            assert positional == ()
            theirs = {renamed.get(k, k): v for k, v in expected["inputs"].items()}
            assert sorted(inputs) == sorted(theirs)
            for spec_name, (dtype, shape) in theirs.items():
                spec = inputs[spec_name]
                assert spec.name == spec_name
                assert spec.dtype == _numpy_dtype(dtype)
                assert spec.shape == (None if shape is None else tuple(shape))
            # TensorFlow infers the shapes of outputs anew; the SavedModel's may say more.
            outputs = signature.structured_outputs
            assert sorted(outputs) == sorted(expected["outputs"])
            for spec_name, (dtype, shape) in expected["outputs"].items():
                spec = outputs[spec_name]
                assert spec.dtype == _numpy_dtype(dtype)
                if shape is not None and spec.shape is not None:
                    assert len(spec.shape) == len(shape)
                    assert all(
                        None in sizes or len(set(sizes)) == 1
                        for sizes in zip(spec.shape, shape, strict=True)
                    )


def _numpy_dtype(name: str) -> np.dtype[Any]:
    import ml_dtypes

    if name == "string":
        return np.dtype(object)
    if name.startswith(("qint", "quint")):
        return np.dtype(name[1:])
    return np.dtype(getattr(ml_dtypes, name, name))
