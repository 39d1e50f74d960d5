"""What goes in, what comes out: dtypes, layouts, other libraries' arrays, copies."""

from __future__ import annotations

import array
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest

import savedmodel
from conftest import Copies

Load = Callable[..., savedmodel.Model]

DTYPES = [
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64", "complex64", "complex128"),
    *("bfloat16", "float8_e5m2", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e4m3b11fnuz"),
    *("float8_e5m2fnuz", "int4", "uint4", "int2", "uint2", "float4_e2m1fn"),
]


def dtype_of(name: str) -> np.dtype[Any]:
    return np.dtype(getattr(ml_dtypes, name, name))


def values(dtype: np.dtype[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """Distinct small values where the dtype has them."""
    return (np.arange(np.prod(shape, dtype=int)) % 2).astype(dtype).reshape(shape)


def aligned(source: npt.ArrayLike, dtype: Any = None) -> npt.NDArray[Any]:
    source = np.asarray(source, dtype)
    copy = savedmodel.aligned_empty(source.shape, source.dtype)
    copy[...] = source
    return copy


def pointer(value: npt.NDArray[Any]) -> int:
    return int(value.__array_interface__["data"][0])


@pytest.fixture(scope="module")
def identity(models: Any) -> Callable[[str], savedmodel.Signature]:
    """The pass-through signature of a dtype."""
    loaded = [
        savedmodel.load(models / name / "saved_model")
        for name in ("dtype_identity", "dtype_identity_narrow", "dtype_identity_quantized")
    ]

    def of(name: str) -> savedmodel.Signature:
        for model in loaded:
            if name in model.signatures:
                return model.signatures[name]
        raise AssertionError(f"no model passes {name} through")

    return of


Identity = Callable[[str], savedmodel.Signature]


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (5,), (2, 3, 1, 2, 2)])
def test_every_dtype_passes_through(identity: Identity, name: str, shape: tuple[int, ...]) -> None:
    signature = identity(name)
    given = values(dtype_of(name), shape)
    (result,) = signature(given).values()
    assert result.dtype == given.dtype
    assert result.shape == shape
    assert result.tobytes() == given.tobytes()


@pytest.mark.parametrize("name", DTYPES)
def test_every_dtype_goes_in_and_out_without_a_copy(identity: Identity, name: str) -> None:
    signature = identity(name)
    given = aligned(values(dtype_of(name), (4, 8)))
    with Copies() as copies:
        (result,) = signature.run({"x": given}, copy=False).values()
    assert copies.by_reason == {}
    assert pointer(result) == pointer(given)
    assert not result.flags.writeable, "the caller's own input"


@pytest.mark.parametrize("name", ["qint8", "quint8", "qint16", "quint16", "qint32"])
def test_quantized_dtypes_are_plain_integers(identity: Identity, name: str) -> None:
    given = values(np.dtype(name[1:]), (3,))
    (result,) = identity(name)(given).values()
    assert result.dtype == given.dtype
    assert result.tobytes() == given.tobytes()


@pytest.mark.parametrize("name", DTYPES)
def test_another_dtype_is_a_type_error(identity: Identity, name: str) -> None:
    other = np.dtype("int64" if name == "float32" else "float32")
    with pytest.raises(TypeError, match=rf"input 'x': expected {name} .*got {other}"):
        identity(name)(np.zeros(3, other))


@pytest.mark.parametrize("dtype", ["longdouble", "datetime64[s]", "V8", [("a", "i4")]])
def test_numpy_dtypes_that_tensorflow_lacks(identity: Identity, dtype: Any) -> None:
    with pytest.raises(TypeError, match="expected float32"):
        identity("float32")(np.zeros(3, dtype))


@pytest.mark.parametrize(
    ("layout", "reason"),
    [
        (lambda a: a[:, ::2], "non_contiguous"),
        (lambda a: a[::-1], "non_contiguous"),
        (lambda a: a.T, "non_contiguous"),
        (lambda a: np.asfortranarray(a), "non_contiguous"),
        (lambda a: np.broadcast_to(a[0], (3, 8)), "non_contiguous"),
        (lambda a: a.astype(a.dtype.newbyteorder()), "byte_order"),
        (lambda a: aligned(a.ravel())[1:], "misaligned"),
        (lambda a: np.frombuffer(b"\0" + a.tobytes(), np.uint8)[1:].view(a.dtype), "misaligned"),
    ],
)
def test_other_layouts_are_copied_once(
    identity: Identity, layout: Callable[[npt.NDArray[Any]], npt.NDArray[Any]], reason: str
) -> None:
    given = layout(np.arange(32, dtype=np.float32).reshape(4, 8))
    before = given.copy()
    with Copies() as copies:
        (result,) = identity("float32")(given).values()
    assert copies.by_reason == {reason: (1, given.nbytes)}
    np.testing.assert_array_equal(result, before)
    np.testing.assert_array_equal(given, before)
    with pytest.raises(ValueError, match="copy=False, but a copy is needed"):
        identity("float32").run({"x": given}, copy=False)


def test_read_only_arrays_go_in_without_a_copy(identity: Identity) -> None:
    given = aligned(np.arange(8, dtype=np.float32))
    given.flags.writeable = False
    with Copies() as copies:
        (result,) = identity("float32")(given).values()
    assert copies.by_reason == {}
    assert pointer(result) == pointer(given)


def test_copy_true_copies_in_and_out(identity: Identity) -> None:
    given = aligned(np.arange(8, dtype=np.float32))
    with Copies() as copies:
        (result,) = identity("float32").run({"x": given}, copy=True).values()
    assert copies.by_reason["requested"][0] >= 1
    assert pointer(result) != pointer(given)
    result[:] = -1  # writable
    np.testing.assert_array_equal(given, np.arange(8))


@pytest.mark.parametrize("copy", [0, "no", np.False_])
def test_copy_takes_only_none_and_bools(identity: Identity, copy: Any) -> None:
    with pytest.raises(TypeError, match="copy: expected None, False or True"):
        identity("float32").run({"x": np.zeros(1, np.float32)}, copy=copy)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("float32", 3),
        ("float32", 2.5),
        ("float32", [[1, 2.5], [3, 4]]),
        ("float32", []),
        ("float32", (np.float64(1.5), 2)),
        ("float32", [np.arange(2.0), np.arange(2.0)]),
        ("bfloat16", [1, 2]),
        ("float16", 0.5),
        ("int32", [1, -2]),
        ("uint8", 255),
        ("int64", 2**62),
        ("uint64", 2**64 - 1),
        ("int4", [-8, 7]),
        ("bool", True),
        ("bool", [[True], [False]]),
        ("complex64", [1, 2.5, 1j]),
    ],
)
def test_python_values_take_the_dtype_of_the_input(
    identity: Identity, name: str, value: Any
) -> None:
    with Copies() as copies:
        (result,) = identity(name)(value).values()
    expected = np.array(value).astype(dtype_of(name))
    assert result.dtype == expected.dtype
    np.testing.assert_array_equal(result, expected)
    assert set(copies.by_reason) <= {"python_object"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("int32", 1.5),
        ("int32", [1, 2.0]),
        ("int32", True),
        ("float32", True),
        ("float32", 1j),
        ("float32", "1"),
        ("float32", b"1"),
        ("float32", ["1"]),
        ("float32", None),
        ("float32", [None]),
        ("float32", object()),
        ("float32", {"a": 1}),
        ("bool", 1),
        ("bool", [0.0]),
        ("string", 1),
        ("string", [b"a", 1]),
        ("string", [None]),
        ("string", np.zeros(2)),
    ],
)
def test_python_values_never_change_kind(identity: Identity, name: str, value: Any) -> None:
    with pytest.raises(TypeError, match="input 'x'"):
        identity(name)(value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("uint8", 256),
        ("uint8", -1),
        ("int8", [1, 128]),
        ("int32", 2**31),
        ("int64", 2**63),
        ("int64", 10**30),
        ("int4", 8),
        ("uint64", -1),
    ],
)
def test_python_integers_out_of_range(identity: Identity, name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"input 'x'.*range of {name}"):
        identity(name)(value)


@pytest.mark.parametrize("name", ["float32", "string"])
@pytest.mark.parametrize("value", [[[1, 2], [3]], [[1], [[2]]], [["a", "b"], ["c"]]])
def test_ragged_lists(identity: Identity, name: str, value: Any) -> None:
    if name == "string":
        value = [[str(x) for x in row] if isinstance(row, list) else row for row in value]
        if value[1] == ["[2]"]:
            value[1] = [["2"]]
    with pytest.raises(ValueError, match="input 'x'.*ragged nested lists"):
        identity(name)(value)


def test_numpy_scalars_are_arrays(identity: Identity) -> None:
    (result,) = identity("float32")(np.float32(1.5)).values()
    assert result == np.float32(1.5)
    with pytest.raises(TypeError, match="got float64"):
        identity("float32")(np.float64(1.5))


class OnlyDlpack:
    """An array of some other library."""

    def __init__(self, held: npt.NDArray[Any]) -> None:
        self.held = held

    def __dlpack__(self, **options: Any) -> Any:
        return self.held.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self.held.__dlpack_device__()


class OnlyArray:
    def __init__(self, held: npt.NDArray[Any]) -> None:
        self.held = held

    def __array__(self, dtype: Any = None, copy: Any = None) -> npt.NDArray[Any]:
        return self.held


class BrokenDlpack:
    def __dlpack__(self, **options: Any) -> Any:
        raise BufferError("the data lies on a device that is not here")

    def __dlpack_device__(self) -> Any:
        return (2, 0)


@pytest.mark.parametrize("wrap", [OnlyDlpack, OnlyArray, memoryview])
def test_arrays_of_other_libraries_go_in_without_a_copy(
    identity: Identity, wrap: Callable[[Any], Any]
) -> None:
    given = aligned(np.arange(8, dtype=np.float32))
    with Copies() as copies:
        (result,) = identity("float32")(wrap(given)).values()
    assert copies.by_reason == {}
    assert pointer(result) == pointer(given)


def test_buffers_of_the_standard_library(identity: Identity) -> None:
    (result,) = identity("float32")(array.array("f", [1, 2])).values()
    np.testing.assert_array_equal(result, [1, 2])
    with pytest.raises(TypeError, match="got float64"):
        identity("float32")(array.array("d", [1, 2]))


def test_dlpack_that_fails_says_so(identity: Identity) -> None:
    with pytest.raises(TypeError, match=r"input 'x'.*__dlpack__.*device that is not here"):
        identity("float32")(BrokenDlpack())


def test_outputs_export_dlpack(digits: savedmodel.Model) -> None:
    (result,) = digits.signatures["serving_default"](np.zeros((1, 8, 8, 1), np.float32)).values()
    np.testing.assert_array_equal(np.from_dlpack(result), result)


@pytest.mark.parametrize(
    "value",
    [
        "grüße",
        b"\xff\x00\xfe\x00",
        ["a", b"b"],
        [["a", "b"], ["c", "d"]],
        [b"trailing\x00\x00", b"\x00"],
        [],
        np.array(["a", "längere"], dtype="U"),
        np.array([b"a", b"\xff\xfe"], dtype="S"),
        np.array(["a", b"\x00b", np.str_("c")], dtype=object),
        np.array([["a"], ["b"]], dtype=np.dtypes.StringDType()),
        np.array("scalar", dtype=object),
        np.array([["a", "b"], ["c", "d"]], dtype=object).T,
        np.array(["a", "b"], dtype="U").astype(np.dtype("U1").newbyteorder()),
        np.array(["abc", "de", "f"], dtype="S3")[::2],
        np.empty((0, 2), dtype=object),
        np.str_("numpy"),
        np.bytes_(b"numpy"),
    ],
    ids=repr,
)
def test_strings_of_every_form(identity: Identity, value: Any) -> None:
    def to_bytes(element: Any) -> bytes:
        return element.encode() if isinstance(element, str) else bytes(element)

    given = value if isinstance(value, np.ndarray) else np.array(value, dtype=object)
    expected = np.empty(given.shape, object)
    for index in np.ndindex(given.shape):
        expected[index] = to_bytes(given[index])
    (result,) = identity("string")(value).values()
    assert result.dtype == object
    assert result.shape == expected.shape
    assert result.tolist() == expected.tolist()


def test_strings_that_have_no_utf8(identity: Identity) -> None:
    with pytest.raises(ValueError, match="input 'x'.*cannot be encoded as UTF-8"):
        identity("string")("\udc80")


def test_strings_are_always_copied(identity: Identity) -> None:
    with pytest.raises(ValueError, match="strings"):
        identity("string").run({"x": b"a"}, copy=False)
    with Copies() as copies:
        identity("string")([b"abc", b"de"])
    assert copies.by_reason == {"string": (2, 10)}, "once in, once out"


def test_out_receives_the_result(digits: savedmodel.Model) -> None:
    signature = digits.signatures["serving_default"]
    image = aligned(np.random.default_rng(0).random((2, 8, 8, 1), np.float32))
    expected = signature(image)["probabilities"]
    # Aligned to 64 bytes, it could be written in place.
    out = aligned(np.empty(21, np.float32))[1:].reshape(2, 10)
    strided = np.empty((2, 20), np.float32)[:, ::2]
    for target in (out, strided):
        with Copies() as copies:
            result = signature.run({"image": image}, out={"probabilities": target})
        assert result["probabilities"] is target
        np.testing.assert_array_equal(target, expected)
        assert copies.by_reason == {"out": (1, expected.nbytes)}


@pytest.mark.parametrize(
    ("out", "error", "match"),
    [
        (np.empty((1, 10)), TypeError, "expected float32.*float64"),
        ([0.0] * 10, TypeError, "out takes NumPy arrays, got list"),
        (np.empty((1, 9), np.float32), ValueError, r"\(None, 10\).*\(1, 9\)"),
        (np.empty(10, np.float32), ValueError, r"\(None, 10\).*\(10,\)"),
        (np.empty((3, 10), np.float32), ValueError, r"result has shape \(1, 10\).*\(3, 10\)"),
        (np.broadcast_to(np.float32(0), (1, 10)), ValueError, "read-only"),
    ],
)
def test_out_that_cannot_take_the_result(
    digits: savedmodel.Model, out: Any, error: type[Exception], match: str
) -> None:
    image = np.zeros((1, 8, 8, 1), np.float32)
    with pytest.raises(error, match=match):
        digits.signatures["serving_default"].run({"image": image}, out={"probabilities": out})


def test_out_of_an_unknown_output_or_with_copy_false(digits: savedmodel.Model) -> None:
    signature = digits.signatures["serving_default"]
    image = aligned(np.zeros((1, 8, 8, 1), np.float32))
    out = aligned(np.empty(11, np.float32))[1:].reshape(1, 10)  # needs a copy
    with pytest.raises(ValueError, match="no output 'scores'.*'probabilities'"):
        signature.run({"image": image}, out={"scores": out})
    with pytest.raises(ValueError, match="copy=False"):
        signature.run({"image": image}, out={"probabilities": out}, copy=False)
    with pytest.raises(TypeError, match="out: expected a mapping"):
        signature.run({"image": image}, out=out)


def test_aligned_empty() -> None:
    for shape in [(), (0,), (1,), (7, 3), 5]:
        for dtype in ("float32", np.int8, np.complex128, ml_dtypes.bfloat16):
            made = savedmodel.aligned_empty(shape, dtype)
            assert made.shape == np.empty(shape).shape
            assert made.dtype == np.dtype(dtype)
            assert made.flags.c_contiguous
            assert made.flags.writeable
            assert pointer(made) % 64 == 0
    assert savedmodel.aligned_empty(3).dtype == np.float32
    with pytest.raises(ValueError, match="negative dimensions"):
        savedmodel.aligned_empty(-1, "f4")


def misaligned_count(make: Callable[[int], npt.NDArray[Any]]) -> int:
    kept = [make(n) for n in range(1, 300)]
    return sum(pointer(made) % 64 != 0 for made in kept)


def test_aligned_allocator() -> None:
    def make(n: int) -> npt.NDArray[Any]:
        grown = np.zeros(n, np.float32)
        grown.resize(n * 5, refcheck=False)
        return grown + 1

    assert misaligned_count(make) > 0, "otherwise this test shows nothing"
    with savedmodel.aligned_allocator():
        assert misaligned_count(make) == 0
        with savedmodel.aligned_allocator():
            pass
        assert misaligned_count(np.ones) == 0
    assert misaligned_count(make) > 0


def test_aligned_allocator_for_the_process() -> None:
    """In a process of its own: it stays, for every thread."""
    from conftest import run_python

    done = run_python(
        """
import threading
import numpy as np, savedmodel
early = [np.arange(n) for n in range(1, 200)]
savedmodel.aligned_allocator.install()
def check():
    late = [np.arange(float(n)) for n in range(1, 200)]
    assert all(a.__array_interface__["data"][0] % 64 == 0 for a in late)
    results.append(late)
results = []
threads = [threading.Thread(target=check) for _ in range(4)]
for t in threads: t.start()
for t in threads: t.join()
check()
assert len(results) == 5
early[50].resize(5000, refcheck=False)
del early
savedmodel.aligned_allocator.uninstall()
del results  # memory of one handler, freed by the other
assert any(np.ones(n).__array_interface__["data"][0] % 64 for n in range(1, 200))
"""
    )
    assert done.returncode == 0, done.stderr
