"""Who owns what: references, lifetimes, memory that does not grow."""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import savedmodel
from conftest import DIGITS, assert_memory_stays

Load = Callable[..., savedmodel.Model]


class Watched(np.ndarray):  # type: ignore[type-arg]
    """An array whose end can be watched."""


def watched(shape: tuple[int, ...]) -> Any:
    return savedmodel.aligned_empty(shape).view(Watched)


def test_a_call_keeps_no_reference_to_its_inputs(digits: savedmodel.Model) -> None:
    signature = digits.signatures["serve"]
    image = watched((1, 8, 8, 1))
    image[:] = 0
    references = sys.getrefcount(image)
    for _ in range(3):
        signature(image=image)
        signature(image)
        signature.run({"image": image}, copy=False)
        signature.run({"image": image}, run_options=savedmodel.RunOptions(timeout_in_ms=60_000))
        assert sys.getrefcount(image) == references
    gone = weakref.ref(image)
    del image
    assert gone() is None


def test_a_failing_call_keeps_no_reference(digits: savedmodel.Model) -> None:
    signature = digits.signatures["serve"]
    image = watched((1, 8, 8, 2))
    references = sys.getrefcount(image)
    for arguments in ({"image": image}, {"image": image, "y": image}, {"y": image}):
        with pytest.raises(ValueError, match="input"):
            signature(**arguments)
    del arguments
    assert sys.getrefcount(image) == references


def test_a_pass_through_output_keeps_the_input_alive(load: Load) -> None:
    signature = load("passthrough_output").signatures["serving_default"]
    x = watched((1, 2))
    x[:] = [[1, 2]]
    gone = weakref.ref(x)
    result = signature(x=x, s=b"", unused=0)
    assert np.shares_memory(result["x"], x)
    assert not result["x"].flags.writeable
    view = result["x"][0]
    del x, result
    assert gone() is not None
    assert view.tolist() == [1, 2]
    del view
    assert gone() is None


def test_computed_outputs_are_writable_and_apart(digits: savedmodel.Model) -> None:
    signature = digits.signatures["serve"]
    image = savedmodel.aligned_empty((1, 8, 8, 1))
    image[:] = 0.5
    before = image.copy()
    first = signature(image)["probabilities"]
    assert first.flags.writeable
    assert first.flags.c_contiguous
    kept = first.copy()
    first[:] = 7
    np.testing.assert_array_equal(signature(image)["probabilities"], kept)
    np.testing.assert_array_equal(image, before)


def test_no_call_writes_into_an_input(load: Load, models: Any) -> None:
    """Also where a kernel could compute in place: element-wise chains on one input."""
    import pickle

    for name in ("dtype_compute", "shapes", "function_chain", "keras_mlp", "einsum"):
        model = load(name)
        for call in pickle.loads((models / name / "calls.pkl").read_bytes()):
            inputs = {}
            for key, value in call["inputs"].items():
                if value.dtype == object:
                    inputs[key] = value
                    continue
                inputs[key] = savedmodel.aligned_empty(value.shape, value.dtype)
                inputs[key][...] = value
            model.signatures[call["signature"]].run(inputs)
            for key, value in call["inputs"].items():
                assert inputs[key].tolist() == value.tolist() or value.dtype.kind in "fcV"
                assert inputs[key].tobytes() == value.tobytes() or value.dtype == object


def test_outputs_outlive_the_model() -> None:
    model = savedmodel.load(DIGITS)
    signature = model.signatures["serve"]
    results = [signature(np.full((n, 8, 8, 1), 0.5, np.float32)) for n in (1, 2, 500)]
    expected = [result["probabilities"].copy() for result in results]
    model.close()
    del model, signature
    gc.collect()
    for result, value in zip(results, expected, strict=True):
        np.testing.assert_array_equal(result["probabilities"], value)
        result["probabilities"][:] = 0


def test_constants_and_variables_outlive_the_model(models: Any) -> None:
    with savedmodel.load(models / "no_inputs" / "saved_model") as model:
        pi = model.signatures["constant"]()["pi"]
    with savedmodel.load(models / "variable_value" / "saved_model") as model:
        vector = model.signatures["add"](x=np.float32(0))
    del model
    gc.collect()
    assert pi == np.float32(3.14159)
    assert vector["before"].tolist() == [1, 2, 3]


def test_memory_does_not_grow_over_100_000_calls(load: Load) -> None:
    signature = load("dtype_identity").signatures["float32"]
    strings = load("dtype_identity").signatures["string"]
    aligned = savedmodel.aligned_empty(1024)
    aligned[:] = 0
    misaligned = np.empty(1025, np.float32)[1:]
    text = np.array([b"x" * 100] * 4, object)
    turn = iter(range(10**9))

    def use() -> None:
        n = next(turn) % 10
        if n < 8:
            signature(aligned)
        elif n == 8:
            signature(misaligned)
        else:
            strings(text)

    # A leak of one input or output (4 kB) a call would be 400 MB; of a capsule alone, 10 MB.
    assert_memory_stays(use, rounds=100_000, warm_up=5_000, most=4_000_000)


def test_memory_does_not_grow_over_failing_calls(digits: savedmodel.Model) -> None:
    signature = digits.signatures["serve"]
    wrong = np.zeros((64, 8, 8, 2), np.float32)

    def use() -> None:
        with pytest.raises(ValueError, match="input"):
            signature(wrong)

    assert_memory_stays(use, rounds=5_000, warm_up=500, most=4_000_000)


def test_memory_does_not_grow_over_loads() -> None:
    def use() -> None:
        with savedmodel.load(DIGITS) as model:
            model.signatures["serve"](np.zeros((1, 8, 8, 1), np.float32))

    assert_memory_stays(use, rounds=30, warm_up=10, most=8_000_000)


def test_outputs_stay_as_they_are_while_calls_go_on(load: Load) -> None:
    """Later calls reuse the memory between kernels, never that of an output."""
    signature = load("residual_blocks", optimize="default").signatures["serving_default"]
    held = []
    for size in (64, 32, 64, 16, 48, 64):
        x = np.random.default_rng(size).normal(size=(2, size, size, 3)).astype(np.float32)
        outputs = signature(x)
        held.append((outputs, {name: array.copy() for name, array in outputs.items()}))
    for outputs, copies in held:
        for name, array in outputs.items():
            np.testing.assert_array_equal(array, copies[name])


def test_a_model_that_is_dropped_frees_its_memory(models: Any) -> None:
    """Without close(): nothing holds a model in a cycle."""
    arrays: list[npt.NDArray[Any]] = []

    def use() -> None:
        model = savedmodel.load(models / "large_variable" / "saved_model")
        arrays.append(np.empty(0))
        gone.append(weakref.ref(model))

    gone: list[weakref.ref[savedmodel.Model]] = []
    gc.disable()
    try:
        assert_memory_stays(use, rounds=20, warm_up=5, most=8_000_000)
        assert all(model() is None for model in gone)
    finally:
        gc.enable()


def test_an_output_that_is_fed_again_makes_no_chain(load: Load) -> None:
    """State that the graph passes through: one buffer, however often it goes round."""
    signature = load("passthrough_output").signatures["serving_default"]
    x = savedmodel.aligned_empty((1, 2))
    x[:] = [[1, 2]]
    first = x.ctypes.data
    references = sys.getrefcount(x)
    state = x
    for _ in range(1000):
        state = signature(x=state, s=b"", unused=0)["x"]
    assert state.ctypes.data == first
    assert sys.getrefcount(x) <= references + 2
    state.dtype = np.int32  # another array by now: it is not mistaken for the tensor behind it
    with pytest.raises(TypeError, match="got int32"):
        signature(x=state, s=b"", unused=0)
