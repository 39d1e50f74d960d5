"""Repeats what TensorFlow's answers were recorded of, and compares.

`replay_calls`: the calls of signatures of tests/models/zoo; `replay`: the steps of
tests/models/steps.py.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import savedmodel
from conftest import MODELS, assert_equal_to_tensorflow
from steps import Named, Raised, Spec, evaluate, savedmodel_names

# The sources are read, not imported: this process must stay free of TensorFlow's Python.
_MODEL = re.compile(r'^@model\((?:name="(?P<name>[^"]+)")?[^)]*\)\ndef (?P<function>\w+)', re.M)
ZOO = sorted(
    match["name"] or match["function"]
    for source in (MODELS / "zoo").glob("*.py")
    for match in _MODEL.finditer(source.read_text())
)

# TensorFlow's eager loader makes a Python identifier of an input's name; the SavedModel, and so
# TensorFlow Serving and this package, have the name as it was given.
RENAMED_INPUTS = {"odd_names": {"x_y": "x/y"}}

_DECORATED = re.compile(r"^@MODELS\.steps\(.*?^def (\w+)\(", re.M | re.S)


def replay_calls(
    name: str,
    calls: list[dict[str, Any]],
    load: Callable[[tuple[str, ...]], savedmodel.Model],
) -> None:
    """Repeats the recorded calls of a model of the zoo, in order, on what `load(tags)` gives."""
    renamed = RENAMED_INPUTS.get(name, {})
    by_tags: dict[tuple[str, ...], savedmodel.Model] = {}
    for index, call in enumerate(calls):
        tags = tuple(call["tags"])
        if tags not in by_tags:
            by_tags[tags] = load(tags)
        signature = by_tags[tags].signatures[call["signature"]]
        inputs = {renamed.get(key, key): value for key, value in call["inputs"].items()}
        outputs = signature.run(inputs)
        assert sorted(outputs) == sorted(call["outputs"])
        for output, expected in call["outputs"].items():
            what = f"call {index}, signature {call['signature']}, output {output}"
            assert_equal_to_tensorflow(outputs[output], expected, what)
    assert by_tags, "no call was recorded"


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
        assert opening in actual.message, what
        options = re.compile(r"^Option \d+:", re.M)
        assert options.findall(actual.message) == options.findall(expected.message), what
