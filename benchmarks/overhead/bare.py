"""Builds bare_run_callable.cc where need be, and calls it."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks import native

Floats = npt.NDArray[np.float32]


def build() -> Path:
    """The library's path."""
    return native.build("bare_run_callable", "libbare_run_callable.so")


class BareCallable:
    """A signature's callable in a session of its own, made and run by TensorFlow's C++ API."""

    def __init__(
        self, library: Path, export_dir: Path, array: Floats, inter_op_thread_pool: int
    ) -> None:
        """Load the SavedModel. `array`: what to feed; copied."""
        self._library = _declare(ctypes.CDLL(str(library)))
        dims = (ctypes.c_int64 * array.ndim)(*array.shape)
        self._handle = self._library.Bare_Open(
            str(native.cc_library()).encode(),
            str(export_dir).encode(),
            b"serving_default",
            inter_op_thread_pool,
            dims,
            array.ndim,
            array.ctypes.data_as(ctypes.POINTER(ctypes.c_float)),
        )
        if not self._handle:
            self._fail()

    def run(self, calls: int) -> int:
        """The nanoseconds that so many calls took together, by C++'s clock in a C++ loop."""
        elapsed = int(self._library.Bare_Run(self._handle, calls))
        if elapsed < 0:
            self._fail()
        return elapsed

    def output(self) -> Floats:
        """The elements of the last call's first output, in a row."""
        count = ctypes.c_int64()
        data = self._library.Bare_Output(self._handle, ctypes.byref(count))
        return np.array(data[: count.value], np.float32)

    def close(self) -> None:
        """Free the session."""
        self._library.Bare_Close(self._handle)

    def _fail(self) -> None:
        raise RuntimeError(f"bare_run_callable: {self._library.Bare_Error().decode()}")


def _declare(library: Any) -> Any:
    floats = ctypes.POINTER(ctypes.c_float)
    integers = ctypes.POINTER(ctypes.c_int64)
    library.Bare_Error.restype = ctypes.c_char_p
    library.Bare_Open.restype = ctypes.c_void_p
    library.Bare_Open.argtypes = [
        *(ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p),
        *(ctypes.c_int, integers, ctypes.c_int, floats),
    ]
    library.Bare_Run.restype = ctypes.c_int64
    library.Bare_Run.argtypes = [ctypes.c_void_p, ctypes.c_int64]
    library.Bare_Output.restype = floats
    library.Bare_Output.argtypes = [ctypes.c_void_p, integers]
    library.Bare_Close.restype = None
    library.Bare_Close.argtypes = [ctypes.c_void_p]
    return library
