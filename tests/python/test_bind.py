"""BoundCall: inputs checked once, buffers read again by every call."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import savedmodel

Load = Callable[..., savedmodel.Model]


def test_a_bound_call_reads_its_buffers_again(digits: savedmodel.Model) -> None:
    signature = digits.signatures["serving_default"]
    buffer = savedmodel.aligned_empty((4, 8, 8, 1))
    bound = signature.bind(image=buffer)
    by_position = signature.bind(buffer)
    before = savedmodel.copy_stats().count
    for seed in range(5):
        buffer[:] = np.random.default_rng(seed).random(buffer.shape)
        expected = signature(buffer)["probabilities"]
        np.testing.assert_array_equal(bound()["probabilities"], expected)
        np.testing.assert_array_equal(by_position()["probabilities"], expected)
    assert savedmodel.copy_stats().count == before


def test_the_buffers_are_kept_alive(digits: savedmodel.Model) -> None:
    import sys

    buffer = savedmodel.aligned_empty((1, 8, 8, 1))
    buffer[:] = 0.5
    expected = digits.signatures["serve"](buffer)["probabilities"]
    references = sys.getrefcount(buffer)
    bound = digits.signatures["serve"].bind(buffer)
    assert sys.getrefcount(buffer) == references + 1
    pointer = buffer.ctypes.data
    del buffer
    junk = [savedmodel.aligned_empty((1, 8, 8, 1)) for _ in range(100)]
    assert all(other.ctypes.data != pointer for other in junk)
    np.testing.assert_array_equal(bound()["probabilities"], expected)


def test_what_cannot_be_read_again_is_refused(digits: savedmodel.Model) -> None:
    signature = digits.signatures["serve"]
    good = savedmodel.aligned_empty((2, 8, 8, 1))
    good[...] = 0
    with pytest.raises(ValueError, match="copy=False, but a copy is needed.*not C-contiguous"):
        signature.bind(good[:, ::-1])
    with pytest.raises(ValueError, match="copy is needed.*holds no array memory"):
        signature.bind(np.zeros((1, 8, 8, 1)).tolist())
    with pytest.raises(TypeError, match="expected float32"):
        signature.bind(good.astype(np.float64))
    with pytest.raises(ValueError, match="expected float32 with shape"):
        signature.bind(good[0])
    with pytest.raises(ValueError, match="missing input 'image'"):
        signature.bind()
    with pytest.raises(TypeError, match="takes no arguments"):
        signature.bind(good)(good)  # type: ignore[call-arg]


def test_values_that_cannot_change_are_fixed(load: Load) -> None:
    signature = load("default_inputs").signatures["serving_default"]
    x = savedmodel.aligned_empty(2)
    x[:] = 1
    bound = signature.bind(x=x, scale=10, unit="km")
    assert bound()["unit"] == b"km"
    first = bound()["y"]
    x[:] = 2
    np.testing.assert_array_equal(bound()["y"] - first, [10, 10])


def test_a_bound_call_that_assigns_keeps_nothing(load: Load) -> None:
    signatures = load("assign_input").signatures
    x = savedmodel.aligned_empty((1, 2))
    x[:] = 1
    bound = signatures["write"].bind(x=x, label="one")
    bound()
    x[:] = 2
    np.testing.assert_array_equal(signatures["read"]()["x"], [[1, 1]])
    bound()
    np.testing.assert_array_equal(signatures["read"]()["x"], [[2, 2]])
