"""Every dtype and kind of shape that a tensor can cross the boundary with."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import tensorflow as tf

from zoo.registry import Call, array, model, save, signature, strings

INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
FLOATS = ["float16", "bfloat16", "float32", "float64"]
COMPLEX = ["complex64", "complex128"]
FLOAT8 = ["float8_e5m2", "float8_e4m3fn"]
QUANTIZED = ["qint8", "quint8", "qint16", "quint16", "qint32"]

# TensorFlow stores these and moves them about, but has no arithmetic, Cast or concat on the CPU.
STORED_ONLY = [
    "float8_e4m3fnuz",
    "float8_e4m3b11fnuz",
    "float8_e5m2fnuz",
    "float4_e2m1fn",
    "int4",
    "uint4",
    "int2",
    "uint2",
]
ORDINARY = ["bool", *INTEGERS, *FLOATS, *COMPLEX, *FLOAT8, "string"]

SHAPES: list[tuple[int, ...]] = [(), (6,), (0, 3), (1, 2, 1, 3, 1)]


def numpy_dtype(name: str) -> np.dtype:
    """What holds a dtype's values in numpy; quantized ones travel as their integers."""
    if name in QUANTIZED:
        return np.dtype(name.removeprefix("q"))
    return np.dtype(tf.as_dtype(name).as_numpy_dtype)


def samples(name: str) -> np.ndarray:
    """Six values with the extremes of the dtype, so that a lost bit or sign shows."""
    if name == "string":
        return strings([b"", b"a", b"\x00", b"a\x00b\x00", b"\xff\xfe", "ñ漢".encode()])
    dtype = numpy_dtype(name)
    if name == "bool":
        return array([True, False, False, True, True, False], dtype)
    if name in COMPLEX:
        return array([0, 1, -1j, complex(np.inf, -0.0), complex(np.nan, 1), 2 - 3.5j], dtype)
    if name in FLOATS or name.startswith("float"):
        limits = ml_dtypes.finfo(dtype)
        # The 4-bit format has neither infinity nor NaN.
        odd = [1.5, -2.0] if name == "float4_e2m1fn" else [np.inf, np.nan]
        with np.errstate(all="ignore"):
            values = [-0.0, float(limits.max), float(limits.smallest_subnormal), -1.0, *odd]
            return np.array(values, np.float64).astype(dtype)
    limits = ml_dtypes.iinfo(dtype)
    return np.array([limits.min, limits.max, 0, 1, limits.max - 1, 1]).astype(dtype)


def shaped(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The samples in a shape of at most six elements."""
    values = samples(name)
    out = np.empty(shape, values.dtype)
    out.reshape(-1)[...] = values[1 : 1 + out.size] if out.size < values.size else values
    return out


def save_identities(path: str, names: list[str]) -> list[Call]:
    functions = {}
    for name in names:

        def identity(x: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"y": tf.identity(x)}

        functions[name] = signature(x=(None, tf.as_dtype(name)))(identity)
    save(path, functions)
    return [Call({"x": shaped(name, shape)}, signature=name) for name in names for shape in SHAPES]


@model()
def dtype_identity(path: str) -> list[Call]:
    """Values must cross the boundary bit for bit, in any rank, for each ordinary dtype."""
    return save_identities(path, ORDINARY)


@model()
def dtype_identity_narrow(path: str) -> list[Call]:
    """The dtypes narrower than a byte, or without kernels, that can only be moved."""
    return save_identities(path, STORED_ONLY)


@model()
def dtype_identity_quantized(path: str) -> list[Call]:
    """The old quantized dtypes, which numpy knows only as integers."""
    return save_identities(path, QUANTIZED)


@model()
def dtype_compute(path: str) -> list[Call]:
    """A cheap kernel for each dtype that has one, so that a wrong reading changes the answer."""
    functions = {}
    for name in ORDINARY:
        dtype = tf.as_dtype(name)

        def compute(x: tf.Tensor) -> dict[str, tf.Tensor]:
            if x.dtype == tf.bool:
                return {"y": tf.logical_not(x)}
            if x.dtype == tf.string:
                return {"y": tf.strings.join([x, x], separator="-")}
            if x.dtype.name in FLOAT8:
                return {"y": tf.cast(tf.cast(x, tf.float32) * 0.5, x.dtype)}
            return {"y": x + x * x}

        functions[name] = signature(x=([None], dtype))(compute)
    save(path, functions)
    return [Call({"x": samples(name)}, signature=name) for name in ORDINARY]


@model()
def dtype_casts(path: str) -> list[Call]:
    """One output per dtype from one call, so that outputs of mixed dtypes come back together."""
    targets = ["bool", *INTEGERS, *FLOATS, *COMPLEX, *FLOAT8, *QUANTIZED]

    @signature(x=([None], tf.float32))
    def cast(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {name: tf.cast(x, tf.as_dtype(name)) for name in targets}

    save(path, cast)
    return [Call({"x": array([0.0, 1.0, 2.5, 100.0])}), Call({"x": array([])})]


@model()
def dtype_constants(path: str) -> list[Call]:
    """Constants of each dtype in the graph: a TensorProto packs each of them its own way."""

    @tf.function(input_signature=[])
    def constants() -> dict[str, tf.Tensor]:
        return {name: tf.constant(samples(name)) for name in ORDINARY}

    # A constant of equal elements is stored as one of them; there is no Fill of a float8.
    @tf.function(input_signature=[])
    def filled() -> dict[str, tf.Tensor]:
        return {
            name: tf.fill([2, 3], tf.constant(samples(name)[1]))
            for name in ORDINARY
            if name not in FLOAT8
        }

    save(path, {"constants": constants, "filled": filled})
    return [Call({}, signature="constants"), Call({}, signature="filled")]


@model()
def dtype_variables(path: str) -> list[Call]:
    """A variable of each dtype, since the checkpoint stores them each in its own form."""
    module = tf.Module()
    module.values = {name: tf.Variable(samples(name)) for name in ORDINARY}
    module.empty = tf.Variable(np.zeros((0, 4), np.float32))
    module.scalar = tf.Variable(np.float64(0.1))

    @tf.function(input_signature=[])
    def read() -> dict[str, tf.Tensor]:
        values = {name: tf.identity(variable) for name, variable in module.values.items()}
        return {**values, "empty": module.empty + 0.0, "scalar": module.scalar + 0.0}

    save(path, read, module)
    return [Call({})]


@model()
def shapes(path: str) -> list[Call]:
    """What a signature may declare of a shape: all, some, the rank only, or nothing."""
    declared = {
        "scalar": [],
        "fixed": [2, 3],
        "partial": [None, 3],
        "rank_5": [None, 2, None, 1, 3],
        "unknown_rank": None,
        "zero_size": [0, 4],
    }
    functions = {}
    for key, shape in declared.items():

        def describe(x: tf.Tensor) -> dict[str, tf.Tensor]:
            return {
                "y": x * 2.0,
                "shape": tf.shape(x, out_type=tf.int64),
                "rank": tf.rank(x),
                "sum": tf.reduce_sum(x),
            }

        functions[key] = signature(x=(shape, tf.float32))(describe)
    save(path, functions)

    def ramp(*shape: int) -> np.ndarray:
        return np.arange(np.prod(shape, dtype=int), dtype=np.float32).reshape(shape)

    return [
        Call({"x": array(3.0)}, "scalar"),
        Call({"x": ramp(2, 3)}, "fixed"),
        Call({"x": ramp(5, 3)}, "partial"),
        Call({"x": ramp(0, 3)}, "partial"),
        Call({"x": ramp(2, 2, 3, 1, 3)}, "rank_5"),
        Call({"x": ramp(1, 2, 0, 1, 3)}, "rank_5"),
        Call({"x": ramp()}, "unknown_rank"),
        Call({"x": ramp(7)}, "unknown_rank"),
        Call({"x": ramp(1, 2, 1, 2, 1, 2, 1)}, "unknown_rank"),
        Call({"x": ramp(0, 4)}, "zero_size"),
    ]
