"""Calls of tf.functions choose the trace that TensorFlow's would, and give it the same tensors."""

from __future__ import annotations

import collections
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import savedmodel
from conftest import generate_models


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate_models("function_calls.py", tmp_path_factory.mktemp("function_calls"))


@pytest.fixture(scope="module")
def model(folder: Path) -> Iterator[Any]:
    with savedmodel.load(folder / "saved_model") as loaded:
        yield loaded


def unpickled(value: Any) -> Any:
    """The argument that function_calls.plain took apart."""
    if isinstance(value, tuple) and value and isinstance(value[0], str) and len(value) == 3:
        fields = {name: unpickled(field) for name, field in value[2].items()}
        known = {"SparseTensorValue", "RaggedTensorValue"}
        if value[1] in known:
            return getattr(savedmodel, value[1])(**fields)
        return collections.namedtuple(value[1], list(fields))(**fields)  # noqa: PYI024
    if isinstance(value, (list, tuple)):
        return type(value)(unpickled(element) for element in value)
    if isinstance(value, dict):
        return {key: unpickled(element) for key, element in value.items()}
    return value


def plain(value: Any) -> Any:
    """A result as function_calls.plain gives TensorFlow's."""
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        fields = {name: plain(field) for name, field in value._asdict().items()}
        return ("namedtuple", type(value).__name__, fields)
    if isinstance(value, (list, tuple)):
        return type(value)(plain(element) for element in value)
    if isinstance(value, dict):
        return {key: plain(element) for key, element in value.items()}
    return value


def assert_same(ours: Any, theirs: Any) -> None:
    if isinstance(ours, np.ndarray):
        expected = np.asarray(theirs)
        if isinstance(theirs, bytes):
            expected = np.array(theirs, object)
        assert ours.dtype == expected.dtype
        assert ours.shape == expected.shape
        np.testing.assert_array_equal(ours, expected)
        return
    assert type(ours) is type(theirs)
    if isinstance(ours, dict):
        assert ours.keys() == theirs.keys()
        for key in ours:
            assert_same(ours[key], theirs[key])
    elif isinstance(ours, (list, tuple)):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            assert_same(one, other)
    else:
        assert ours == theirs


def numbers(value: Any) -> list[Any]:
    if isinstance(value, (list, tuple)):
        return [number for element in value for number in numbers(element)]
    return list(np.ravel(value)) if isinstance(value, (int, float, np.ndarray, np.generic)) else []


def loses(entry: dict[str, Any]) -> bool:
    """True if TensorFlow drops fractions, imaginary parts or the high bits: savedmodel refuses."""
    if not entry["function"].startswith(("trace_", "signature_", "pair", "vector")):
        return False
    given = numbers(entry["args"])
    came = [number for tensor in entry["result"]["tensors"] for number in np.ravel(tensor)]
    if not came or any(isinstance(number, (bytes, str)) for number in given):
        return bool(given)
    kind = np.asarray(came).dtype.kind
    if kind == "b":
        return any(not isinstance(number, (bool, np.bool_)) for number in given)
    if kind in "iu":
        return any(not isinstance(number, (int, np.integer, np.bool_)) for number in given) or any(
            int(a) != int(b) for a, b in zip(given, came, strict=True)
        )
    return any(isinstance(number, (complex, np.complexfloating)) for number in given)


def describe(entry: dict[str, Any]) -> str:
    return f"{entry['function']}(*{entry['args']}, **{entry['kwargs']})"


def test_calls_choose_and_convert_as_tensorflow_does(model: Any, folder: Path) -> None:
    wrong = []
    for entry in pickle.loads((folder / "calls.pkl").read_bytes()):
        function = getattr(model, entry["function"])
        args, kwargs = unpickled(entry["args"]), unpickled(entry["kwargs"])
        try:
            result = plain(function(*args, **kwargs))
        except (ValueError, TypeError) as error:
            if "result" in entry and not loses(entry):
                wrong.append(f"{describe(entry)}: raised {error}")
            continue
        if "error" in entry:
            wrong.append(f"{describe(entry)}: gave {result}, TensorFlow {entry['message'][:200]}")
            continue
        try:
            assert_same(result, entry["result"])
        except AssertionError:
            wrong.append(f"{describe(entry)}: gave {result}, TensorFlow {entry['result']}")
    assert not wrong, "\n".join(wrong)
