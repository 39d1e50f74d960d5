"""Saves a model of tf.functions, and what TensorFlow answers to calls of them.

    python tests/models/function_calls.py OUT_DIR

The model is at OUT_DIR/saved_model, the calls at OUT_DIR/calls.pkl: dicts of `function`, `args`,
`kwargs`, and `result` or `error` and `message`, as the loaded function gave them. A function says
which of its traces ran, and which tensors that was given. Named tuples are pickled as
("namedtuple", type name, fields), sparse and ragged tensors as savedmodel's own named tuples.
"""

from __future__ import annotations

import argparse
import itertools
import pickle
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from savedmodel import RaggedTensorValue, SparseTensorValue


class Point(NamedTuple):
    x: Any
    y: Any


class Other(NamedTuple):
    x: Any
    y: Any


class IndexedSlicesValue(NamedTuple):
    values: Any
    indices: Any
    dense_shape: Any


# A default that the SavedModel holds as a tensor.
TWO = np.array(2, np.float32)

SCALAR = tf.TensorSpec([], tf.float32)
VECTOR = tf.TensorSpec([None], tf.float32)
INTEGER = tf.TensorSpec([], tf.int32)
ANY = tf.TensorSpec(None, tf.float32)


def call(*args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return args, kwargs


def recorder(make: Callable[..., Any]) -> Callable[..., Any]:
    """What `make` makes of a function that gives its trace's number and the tensors it got."""
    numbers = itertools.count()

    def record(*parts: Any) -> dict[str, Any]:
        flat = tf.nest.flatten(parts, expand_composites=True)
        tensors = [tf.identity(part) for part in flat if tf.is_tensor(part)]
        return {"trace": tf.constant(next(numbers)), "tensors": tensors}

    return make(record)


def functions() -> dict[str, tuple[Any, Sequence[Any]]]:
    """Name -> (tf.function, its traces)."""

    def define(
        make: Callable[..., Any], *traces: Any, input_signature: Any = None
    ) -> tuple[Any, Sequence[Any]]:
        return tf.function(recorder(make), input_signature=input_signature), traces

    def flag(record):
        return lambda x, training=False: record(x)

    def one(record):
        return lambda x: record(x)

    def rest(record):
        return lambda x, *rest, scale=2, **extra: record(x, rest, extra)

    def mode(record):
        return lambda x, *, mode: record(x)

    def option(record):
        return lambda x, n: record(x, n)

    def several(record):
        return lambda x, y=None, scale=1: record(x, y)

    made = {
        "flag": define(
            flag,
            call(SCALAR, training=True),
            call(SCALAR, False),
            call(INTEGER),
            call(VECTOR),
        ),
        "rest": define(rest, call(SCALAR), call(SCALAR, SCALAR, INTEGER, scale=3, y=VECTOR)),
        "mode": define(mode, call(SCALAR, mode="a"), call(SCALAR, mode="b")),
        "option": define(
            option,
            *(
                call(SCALAR, n)
                for n in (3, 1.5, "s", None, (1, 2), {"k": 1}, [], True, INTEGER, [INTEGER])
            ),
        ),
        "vector": define(one, input_signature=[VECTOR]),
        "pair": define(several, input_signature=[VECTOR, INTEGER]),
        "nest_signature": define(
            one, input_signature=[{"a": VECTOR, "b": [INTEGER, (SCALAR, SCALAR)]}]
        ),
        "rest_signature": define(rest, input_signature=[SCALAR, SCALAR, INTEGER]),
        "nest": define(
            one,
            call({"b": VECTOR, "a": [SCALAR, (INTEGER, None)]}),
            call([SCALAR, SCALAR]),
            call((SCALAR, SCALAR)),
            call({}),
        ),
        "point": define(one, call(Point(SCALAR, INTEGER))),
        "shapes": define(
            one,
            call(tf.TensorSpec([2], tf.float32)),
            call(VECTOR),
            call(tf.TensorSpec([None, 3], tf.float32)),
        ),
        "sparse": define(one, call(tf.SparseTensorSpec([None, 3], tf.float32))),
        "sparse_signature": define(
            one, input_signature=[tf.SparseTensorSpec([None, None], tf.float32)]
        ),
        "ragged": define(
            one,
            call(tf.RaggedTensorSpec([None, None], tf.float32)),
            call(tf.RaggedTensorSpec([None, None, None], tf.int32)),
            call(tf.RaggedTensorSpec([None, None, 2], tf.float32, ragged_rank=1)),
        ),
        "ragged_signature": define(
            one, input_signature=[tf.RaggedTensorSpec([None, None], tf.float32)]
        ),
        "default_tensor": define(
            lambda record: lambda x, y=TWO: record(x, y), call(SCALAR, SCALAR)
        ),
    }
    traced = (
        tf.bool, tf.int8, tf.uint8, tf.int32, tf.int64, tf.uint64, tf.float16, tf.bfloat16,
        tf.float64, tf.complex64, tf.string,
    )  # fmt: skip
    for dtype in traced:
        made[f"trace_{dtype.name}"] = define(one, call(tf.TensorSpec(None, dtype)))
    # Of the others TensorFlow refuses Python's bools, which are integers elsewhere, and of uint64
    # it converts -1 with a Python error pending, which aborts the process now and then.
    for dtype in (tf.bool, tf.int32, tf.int64, tf.float16, tf.float64, tf.string):
        made[f"signature_{dtype.name}"] = define(one, input_signature=[tf.TensorSpec(None, dtype)])
    return made


class Methods(tf.Module):
    @tf.function
    def method(self, x, k=1):
        return {"trace": tf.constant(k), "tensors": [tf.identity(x)]}

    @tf.function(input_signature=[VECTOR])
    def structures(self, x):
        sparse = tf.sparse.from_dense(tf.stack([x, tf.zeros_like(x)]))
        ragged = tf.RaggedTensor.from_row_splits(x, [0, 1, tf.size(x)])
        deep = tf.RaggedTensor.from_row_splits(ragged, [0, 0, 2])
        slices = tf.IndexedSlices(x, tf.range(tf.size(x)))
        return {
            "z": [x, (x + 1, None)],
            "a": Point(x, {"k": -x}),
            "sparse": sparse,
            "ragged": (ragged, deep),
            "slices": slices,
            "empty": [(), {}],
            "number": 3,
        }

    @tf.function(input_signature=[])
    def nothing(self):
        return None


# What a nest of numbers, strings and arrays becomes, for each dtype, traced and by signature.
PLAIN_VALUES = [
    1, 1.5, True, 1j, -1, 2**31, 1e300, "a", b"a", None, [1, 2], [1.5], [True, False],
    [True, 1], [1j, 1], ["a", b"b"], [[1], [1, 2]], [], [[], []], (), (1, 2), [1, "a"], [None],
    {"a": 1},
    np.array(1.5), np.array(3, np.int64), np.array([True]), np.array(1.5, np.float32),
    np.array(["a"]), np.array([b"a"], object), np.float64(1), np.int32(7), np.bool_(True),
    [np.ones(2), np.ones(2)], [np.ones(2, np.float32), [1, 2]], [np.ones(2), np.ones(3)],
    [np.float32(1), 2.0], [np.int64(1), 2.0],
]  # fmt: skip


def ragged(values: Any, *row_splits: Any) -> RaggedTensorValue:
    value: Any = values
    for splits in reversed(row_splits):
        value = RaggedTensorValue(value, np.array(splits, np.int64))
    return value


def calls() -> list[tuple[str, tuple[tuple[Any, ...], dict[str, Any]]]]:
    f32 = np.float32
    ones = np.ones(2, f32)
    one = f32(1)
    point = SparseTensorValue(np.array([[0, 1]]), np.array([5], f32), np.array([2, 3]))
    table = {
        "flag": [
            call(1.0), call(1.0, True), call(1.0, training=True), call(x=1.0, training=0),
            call(one, 1), call(one, np.bool_(True)), call(one, None), call(np.int32(2)), call(2),
            call(np.int64(2)), call(ones), call([1, 2], False), call([1, 2], True), call("x"),
            call(), call(1.0, True, 3), call(1.0, x=2.0), call(1.0, y=2.0), call([[1.0]]),
            call(one, training="True"), call(one, 0.0),
        ],
        "rest": [
            call(1.0), call(x=1.0), call(1.0, scale=2), call(1.0, scale=3), call(1.0, 2.0),
            call(1.0, 2.0, 3, scale=3, y=[1.0]), call(one, one, 3, y=ones, scale=3),
            call(1.0, 2.0, 3, scale=4, y=[1.0]), call(1.0, 2.0, 3, scale=3, z=[1.0]),
            call(1.0, 2.0, 3, scale=3, y=[1.0], z=1),
        ],
        "mode": [
            call(1.0, mode="a"), call(1.0, mode="b"), call(1.0, mode="c"), call(1.0),
            call(1.0, "a"), call(mode="b", x=one),
        ],
        "option": [
            *(call(1.0, n) for n in (
                3, 3.0, 4, 1.5, "s", "t", b"s", None, (1, 2), [1, 2], (1, 3), {"k": 1}, {"k": 2},
                {"l": 1}, [], [1], True, False, 1, np.int32(3), [np.int32(3)], np.float32(1.5),
                float("nan"),
            )),
        ],
        "pair": [
            call([1.0], 2), call(ones, np.int32(2)), call(ones), call(ones, 2, 1),
            call(ones, 2, 3), call(ones, scale=1, y=2), call(1.0, 2), call(ones, 2.5),
            call(ones, [1]), call(np.arange(3), np.int64(4)),
        ],
        "nest_signature": [
            call({"a": [1.0], "b": [1, (2.0, 3)]}),
            call({"b": [np.int32(1), (one, one)], "a": ones}),
            call({"a": [1.0], "b": (1, (2.0, 3))}),
            call({"a": [1.0]}), call({"a": [1.0], "b": [1, (2.0, 3)], "c": 1}), call([1.0]),
        ],
        "rest_signature": [
            call(1.0, 2.0, 3), call(1.0, 2.0), call(1.0, 2.0, 3, 4), call(x=1.0),
            call(1.0, 2.0, 3, y=1),
        ],
        "nest": [
            call({"b": ones, "a": [one, (np.int32(1), None)]}),
            call({"a": [1.0, (2, None)], "b": [1.0, 2.0]}),
            call({"a": [1.0, [2, None]], "b": [1.0, 2.0]}),
            call({"a": [1.0, (2, 3)], "b": [1.0, 2.0]}),
            call({"a": [1.0, (2, None)]}),
            call([1.0, 2.0]), call((1.0, 2.0)), call([one, one, one]), call((one, 2.0)),
            call({}), call([]), call({"a": 1}),
        ],
        "point": [
            call(Point(1.0, 2)), call(Point(one, np.int32(2))), call(Other(1.0, 2)),
            call(Other(one, one)), call((one, np.int32(2))), call([1.0, 2]),
        ],
        "shapes": [
            call(ones), call([1.0, 2.0]), call(np.ones(3, f32)), call(np.ones((2, 3), f32)),
            call(np.ones((2, 2), f32)), call(np.ones((), f32)), call([]), call([[1, 2, 3]]),
            call(np.ones(3, f32)[::2]), call(np.ones((3, 2), f32).T),
        ],
        "sparse": [
            call(point), call(point._replace(dense_shape=np.array([4, 3]))),
            call(point._replace(dense_shape=np.array([2, 4]))),
            call(point._replace(values=np.array([5]))), call(ones), call(None),
        ],
        "sparse_signature": [call(point), call(ones), call(point._replace(values=np.array([5])))],
        "ragged": [
            call(ragged(np.arange(3, dtype=f32), [0, 1, 3])),
            call(ragged(np.arange(3), [0, 1, 3])),
            call(ragged(np.arange(3, dtype=np.int32), [0, 2], [0, 1, 3])),
            call(ragged(np.ones((3, 2), f32), [0, 1, 3])),
            call(ragged(np.ones((3, 3), f32), [0, 1, 3])),
            call(ones),
        ],
        "ragged_signature": [
            call(ragged(np.arange(3, dtype=f32), [0, 1, 3])), call(ragged(np.arange(3), [0, 3])),
        ],
        "default_tensor": [call(1.0), call(1.0, 2.0), call(1.0, y=np.float64(2.0))],
        "method": [call(one), call(one, 2), call(one, k=1), call(one, 3), call(one, one)],
        "structures": [call([1.0, 2.0, 3.0]), call(x=ones)],
        "nothing": [call(), call(1)],
    }  # fmt: skip
    listed = [(name, arguments) for name, every in table.items() for arguments in every]
    for name in functions():
        if name.startswith(("trace_", "signature_")) or name == "vector":
            listed += [(name, call(value)) for value in PLAIN_VALUES]
    return listed


def composite(value: Any) -> Any:
    """The argument with TensorFlow's own sparse and ragged tensors."""
    if isinstance(value, SparseTensorValue):
        return tf.SparseTensor(*value)
    if isinstance(value, RaggedTensorValue):
        return tf.RaggedTensor.from_row_splits(composite(value.values), value.row_splits)
    return value


def plain(value: Any) -> Any:
    """A result that pickles without TensorFlow."""
    if isinstance(value, tf.SparseTensor):
        value = SparseTensorValue(value.indices, value.values, value.dense_shape)
    elif isinstance(value, tf.RaggedTensor):
        value = RaggedTensorValue(value.values, value.row_splits)
    elif isinstance(value, tf.IndexedSlices):
        value = IndexedSlicesValue(value.values, value.indices, value.dense_shape)
    if isinstance(value, tf.Tensor):
        return value.numpy()
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        fields = {name: plain(field) for name, field in value._asdict().items()}
        return ("namedtuple", type(value).__name__, fields)
    if isinstance(value, list):
        return [plain(element) for element in value]
    if isinstance(value, tuple):
        return tuple(plain(element) for element in value)
    if isinstance(value, dict):
        return {key: plain(element) for key, element in value.items()}
    return value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out_dir", type=Path)
    folder = parser.parse_args().out_dir

    module = Methods()
    for name, (function, traces) in functions().items():
        setattr(module, name, function)
        for args, kwargs in traces:
            function.get_concrete_function(*args, **kwargs)
    module.method.get_concrete_function(SCALAR)
    module.method.get_concrete_function(SCALAR, 2)
    tf.saved_model.save(module, str(folder / "saved_model"))

    loaded = tf.saved_model.load(str(folder / "saved_model"))
    recorded = []
    for name, (args, kwargs) in calls():
        entry: dict[str, Any] = {"function": name, "args": plain(args), "kwargs": plain(kwargs)}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                function = getattr(loaded, name)
                entry["result"] = plain(function(*map(composite, args), **kwargs))
        except Exception as error:  # whatever TensorFlow raises is its answer
            entry |= {"error": type(error).__name__, "message": str(error)}
        recorded.append(entry)
    (folder / "calls.pkl").write_bytes(pickle.dumps(recorded))


if __name__ == "__main__":
    main()
