"""TensorFlow's guide "Using the SavedModel format", with savedmodel.load in TensorFlow's place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import savedmodel
from conftest import TensorFlow
from replay import recorded, replay

GUIDE = recorded("guide")


def test_there_are_models() -> None:
    assert len(GUIDE) >= 8


@pytest.mark.parametrize("name", GUIDE)
def test_steps(name: str, models: Path) -> None:
    with savedmodel.load(models / name / "saved_model") as model:
        replay(model, models / name)


@pytest.mark.parametrize("name", ["guide/mobilenet", "guide/sequential"])
def test_keras_models_are_repaired(name: str, models: Path) -> None:
    with savedmodel.load(models / name / "saved_model") as model:
        repairs = model.load_report.repairs
        assert repairs
        # What is repaired is named, so that its author can find it.
        names = {variable.name.removesuffix(":0") for variable in model.variables}
        assert all(any(name in repair for name in names) for repair in repairs)


def test_what_needs_no_repair_is_not_repaired(models: Path) -> None:
    path = models / "guide" / "module_with_signature" / "saved_model"
    with savedmodel.load(path) as model:
        assert model.load_report.repairs == []


def test_no_matching_signature(models: Path) -> None:
    path = models / "guide" / "module_no_signatures" / "saved_model"
    with savedmodel.load(path) as model:
        assert list(model.signatures) == []
        with pytest.raises(ValueError, match="Could not find matching concrete function") as raised:
            model(np.float32([3.0]))
        assert isinstance(raised.value, savedmodel.InvalidArgumentError)
        # Both what was given and what there is.
        message = str(raised.value)
        assert "Expected these arguments to match one of the following 1 option(s)" in message
        assert "Option 1:" in message
        assert "(1,)" in message
        assert "float32" in message
        assert "name='x'" in message


def test_fine_tuning(models: Path, tensorflow: TensorFlow, tmp_path: Path) -> None:
    """The guide's training loop, and TensorFlow loads what was learned."""
    tuned = tmp_path / "tuned"
    with savedmodel.load(models / "guide" / "fine_tuned_module" / "saved_model") as model:
        assert model.v.numpy() == 1.0
        for _ in range(10):
            y = model(np.float32(2.0))
            (gradient,) = savedmodel.gradients(
                model, [np.float32(2.0)], [model.v], output_gradients=-2.0 * (10.0 - y)
            )
            model.v.assign(model.v.numpy() - np.float32(0.05) * gradient)
        learned = float(model.v.numpy())
        model.save(tuned)
    assert learned == pytest.approx(5.0, abs=0.05)
    v, answer = tensorflow.evaluate(tuned, ["model.v", "model(constant(2.0))"])
    assert v == pytest.approx(learned)
    assert answer == pytest.approx(10.0, abs=0.1)
