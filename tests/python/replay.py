"""Takes the steps of tests/models/steps.py on a savedmodel.Model, and compares outcomes."""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np

import savedmodel
from conftest import MODELS, assert_equal_to_tensorflow
from steps import Named, Raised, Spec, evaluate, savedmodel_names

# The sources are read, not imported: this process must stay free of TensorFlow's Python.
_DECORATED = re.compile(r"^@MODELS\.steps\(.*?^def (\w+)\(", re.M | re.S)


def recorded(theme: str) -> list[str]:
    """The models of a file of recordings, as THEME/NAME."""
    source = (MODELS / f"{theme}.py").read_text()
    return [f"{theme}/{name}" for name in _DECORATED.findall(source)]


def take(
    model: savedmodel.Model, steps: list[str], names: dict[str, Any] | None = None
) -> list[Any]:
    """The outcomes of steps on a loaded model, with these names besides the usual ones."""
    return evaluate(steps, savedmodel_names(model) | (names or {}))


def replay(model: savedmodel.Model, folder: Path) -> list[str]:
    """Takes the recorded steps of a model, compares each with TensorFlow's, and returns them."""
    taken = pickle.loads((folder / "steps.pkl").read_bytes())
    steps = [step for step, _ in taken]
    for (step, expected), actual in zip(taken, take(model, steps), strict=True):
        assert_same(actual, expected, step)
    return steps


def assert_same(actual: Any, expected: Any, what: str) -> None:
    """The same structure, with leaves that equal TensorFlow's; the same kind of error."""
    if isinstance(expected, Raised):
        _assert_same_error(actual, expected, what)
        return
    assert not isinstance(actual, Raised), f"{what}: {actual.types[0]}: {actual.message}"
    assert type(actual) is type(expected), what
    if isinstance(expected, np.ndarray):
        assert_equal_to_tensorflow(actual, expected, what)
    elif isinstance(expected, Spec):
        assert actual == expected, what
    elif isinstance(expected, Named):
        assert actual.fields == expected.fields, what
        assert_same(actual.values, expected.values, what)
    elif isinstance(expected, dict):
        assert sorted(actual) == sorted(expected), what
        for key, value in expected.items():
            assert_same(actual[key], value, f"{what}, [{key!r}]")
    elif isinstance(expected, list | tuple):
        assert len(actual) == len(expected), what
        for index, value in enumerate(expected):
            assert_same(actual[index], value, f"{what}, [{index}]")
    else:
        assert actual == expected, what


def _assert_same_error(actual: Any, expected: Raised, what: str) -> None:
    assert isinstance(actual, Raised), f"{what}: gave {actual!r} where TensorFlow raised {expected}"
    if expected.types[0] == "TypeError":
        # TensorFlow's "can not cast" is a TypeError for shapes, too.
        assert {"TypeError", "ValueError"} & set(actual.types), f"{what}: {actual}"
    else:
        assert expected.types[0] in actual.types, f"{what}: {actual}"
    opening = "Could not find matching concrete function to call loaded from the SavedModel. Got:"
    if expected.message.startswith(opening):
        assert actual.message.startswith(opening), what
        options = re.compile(r"^Option \d+:", re.M)
        assert options.findall(actual.message) == options.findall(expected.message), what
