"""Every answer of every generated model equals TensorFlow's own, computed in another process."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import savedmodel
from conftest import MODELS, assert_equal_to_tensorflow

# The sources are read, not imported: this process must stay free of TensorFlow's Python.
_DECORATED = re.compile(r'^@model\((?:name="(?P<name>[^"]+)")?[^)]*\)\ndef (?P<function>\w+)', re.M)
NAMES = sorted(
    match["name"] or match["function"]
    for source in (MODELS / "zoo").glob("*.py")
    for match in _DECORATED.finditer(source.read_text())
)

# TensorFlow's eager loader makes a Python identifier of an input's name; the SavedModel, and so
# TensorFlow Serving and this package, have the name as it was given.
RENAMED_INPUTS = {"odd_names": {"x_y": "x/y"}}


def test_names_are_the_generated_ones(models: Path) -> None:
    assert {path.parent.name for path in models.glob("*/calls.pkl")} == set(NAMES)
    assert len(NAMES) >= 25


@pytest.mark.parametrize("name", NAMES)
def test_answers(name: str, models: Path, calls: Callable[[str], list[dict[str, Any]]]) -> None:
    renamed = RENAMED_INPUTS.get(name, {})
    by_tags: dict[tuple[str, ...], savedmodel.Model] = {}
    for index, call in enumerate(calls(name)):
        tags = tuple(call["tags"])
        if tags not in by_tags:
            by_tags[tags] = savedmodel.load(models / name / "saved_model", tags=tags)
        signature = by_tags[tags].signatures[call["signature"]]
        inputs = {renamed.get(key, key): value for key, value in call["inputs"].items()}
        outputs = signature.run(inputs)
        assert sorted(outputs) == sorted(call["outputs"])
        for output, expected in call["outputs"].items():
            what = f"call {index}, signature {call['signature']}, output {output}"
            assert_equal_to_tensorflow(outputs[output], expected, what)
    assert by_tags, "no call was recorded"


@pytest.mark.parametrize("name", NAMES)
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
