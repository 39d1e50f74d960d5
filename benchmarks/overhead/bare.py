"""Builds bare_run_callable.cc where need be, and calls it."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks import native

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]

LIBRARY = native.BUILD / "benchmarks" / "libbare_run_callable.so"


def build() -> Path:
    """The library, built anew if its source is newer."""
    return native.build("bare_run_callable", LIBRARY.name)


class BareCallable:
    """A signature's callable in a session of its own, made and run by TensorFlow's C++ API."""

    def __init__(
        self, library: Path, export_dir: Path, inter_op_thread_pool: int = 0, threads: int = 0
    ) -> None:
        """Load the SavedModel. `threads`: of each of the session's pools; 0 for its default."""
        self._library = load_library(library)
        self._handle = self._library.Bare_Open(
            str(export_dir).encode(), b"serving_default", inter_op_thread_pool, threads
        )
        if not self._handle:
            _fail(self._library)

    def feed(self, array: npt.NDArray[Any]) -> None:
        """What all calls from now on feed: floats, or bytes as objects. Copied."""
        dims = (ctypes.c_int64 * array.ndim)(*array.shape)
        if array.dtype == object:
            texts = array.ravel().tolist()
            data = (ctypes.c_char_p * len(texts))(*texts)
            sizes = (ctypes.c_int64 * len(texts))(*map(len, texts))
            self._library.Bare_FeedStrings(self._handle, dims, array.ndim, data, sizes)
        else:
            floats = np.ascontiguousarray(array, np.float32)
            pointer = floats.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
            self._library.Bare_FeedFloats(self._handle, dims, array.ndim, pointer)

    def run(self, calls: int) -> int:
        """The nanoseconds that so many calls took together, by C++'s clock in a C++ loop."""
        elapsed = int(self._library.Bare_Run(self._handle, calls))
        if elapsed < 0:
            _fail(self._library)
        return elapsed

    def measure(self, callers: int, seconds: float) -> tuple[Integers, float]:
        """Call from so many threads for that long, in C++.

        Gives the nanoseconds of each call, and the seconds that all took together.
        """
        elapsed = self._library.Bare_Measure(self._handle, callers, int(seconds * 1e9))
        if elapsed < 0:
            _fail(self._library)
        count = ctypes.c_int64()
        times = self._library.Bare_Times(self._handle, ctypes.byref(count))
        return np.ctypeslib.as_array(times, (count.value,)).copy(), elapsed / 1e9

    def outputs(self) -> list[Floats]:
        """The elements of each output of the last `run`, in a row; without those of strings."""
        count = ctypes.c_int64()
        found = []
        for index in range(self._library.Bare_OutputCount(self._handle)):
            data = self._library.Bare_Output(self._handle, index, ctypes.byref(count))
            if data:
                found.append(np.ctypeslib.as_array(data, (count.value,)).copy())
        return found

    def close(self) -> None:
        """Free the session."""
        self._library.Bare_Close(self._handle)


def load_library(library: Path) -> Any:
    """The built library, and TensorFlow's beside it, in this process."""
    loaded = _declare(ctypes.CDLL(str(library)))
    if not loaded.Bare_LoadLibrary(str(native.cc_library()).encode()):
        _fail(loaded)
    return loaded


def _fail(library: Any) -> None:
    raise RuntimeError(f"bare_run_callable: {library.Bare_Error().decode()}")


def _declare(library: Any) -> Any:
    handle, number, long, text = (ctypes.c_void_p, ctypes.c_int, ctypes.c_int64, ctypes.c_char_p)
    longs, floats = ctypes.POINTER(long), ctypes.POINTER(ctypes.c_float)
    for function, result, arguments in (
        (library.Bare_Error, text, []),
        (library.Bare_LoadLibrary, ctypes.c_bool, [text]),
        (library.Bare_Open, handle, [text, text, number, number]),
        (library.Bare_FeedFloats, None, [handle, longs, number, floats]),
        (library.Bare_FeedStrings, None, [handle, longs, number, ctypes.POINTER(text), longs]),
        (library.Bare_Run, long, [handle, long]),
        (library.Bare_Measure, long, [handle, number, long]),
        (library.Bare_Times, longs, [handle, longs]),
        (library.Bare_OutputCount, number, [handle]),
        (library.Bare_Output, floats, [handle, number, longs]),
        (library.Bare_Close, None, [handle]),
    ):
        function.restype, function.argtypes = result, arguments
    return library
