"""One runtime with one model in a process of its own, driven by lines of JSON on its pipes.

    python -m benchmarks.runtimes.worker RUNTIME MODEL INPUT.npy THREADS

RUNTIME is a key of runtimes.RUNTIMES, MODEL the path that it loads, INPUT the array of its first
call, THREADS how many share the work of a kernel. When that is answered it says

    {"import": s, "load": s, "call": s, "answered": s, "memory": {...}, "about": text}

with the seconds of each, and "answered" by time.monotonic(), which is the machine's. The commands:

    ["answer", INPUT.npy, OUTPUT.npz]        calls once and writes the outputs; true
    ["measure", INPUT.npy, CALLERS, SECONDS] {"p50": us, "p99": us, "rate": calls per second}

What fails, the start or a command, is answered by {"failed": reason, "stage": what it was}, with
"import", "load" or "run".
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# What the libraries print must not come between the answers.
ANSWERS = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np  # noqa: E402

from benchmarks.memory import memory  # noqa: E402
from benchmarks.runtimes.adapters import CORES, Adapter, Call, InCpp  # noqa: E402
from benchmarks.runtimes.files import Array, read_input  # noqa: E402
from benchmarks.runtimes.runtimes import RUNTIMES  # noqa: E402

# Before the first measurement with an input: so many calls and seconds, or the most of seconds.
WARM_UP_CALLS = 5
WARM_UP_SECONDS = 0.3
WARM_UP_SECONDS_AT_MOST = 2.0
AGAIN_SECONDS = 0.02  # before later ones, to bring back the caches of what is shorter


class Worker:
    """What the commands do."""

    stage = "import"
    _adapter: Adapter

    def __init__(self, first_input: str) -> None:
        self._arrays = {first_input: read_input(first_input)}
        self._calls: dict[tuple[str, int], list[Call]] = {}
        # The seconds of a call as measured last; none before it is warm.
        self._seconds: dict[tuple[str, int], float] = {}

    def start(self, runtime: str, path: str, first_input: str, threads: str) -> dict[str, Any]:
        """Import, load, and call once."""
        start = time.monotonic()
        self._adapter = RUNTIMES[runtime].adapter()
        imported = time.monotonic()
        self.stage = "load"
        self._adapter.load(Path(path), int(threads))
        loaded = time.monotonic()
        self.stage = "run"
        call = self._adapter.caller(self._arrays[first_input], 1)
        call()
        answered = time.monotonic()
        self._calls[first_input, 1] = [call]
        return {
            "import": imported - start,
            "load": loaded - imported,
            "call": answered - loaded,
            "answered": answered,
            "memory": memory(),
            "about": self._adapter.about(),
        }

    def answer(self, source: str, destination: str) -> bool:
        (call,) = self._warm_calls(source, 1)
        np.savez(destination, *map(_storable, self._adapter.arrays(call())))
        return True

    def measure(self, source: str, callers: int, seconds: float) -> dict[str, float]:
        calls = self._warm_calls(source, callers)
        if isinstance(self._adapter, InCpp):
            times, elapsed = self._adapter.measure(self._array(source), callers, seconds)
        elif callers == 1:
            times, elapsed = _measure(calls[0], seconds)
        else:
            times, elapsed = _measure_threads(calls, seconds)
        p50, p99 = np.percentile(times, (50, 99)) / 1e3
        self._seconds[source, callers] = p50 / 1e6
        return {"p50": float(p50), "p99": float(p99), "rate": len(times) / elapsed}

    def _array(self, source: str) -> Array:
        if source not in self._arrays:
            self._arrays[source] = read_input(source)
        return self._arrays[source]

    def _warm_calls(self, source: str, callers: int) -> list[Call]:
        """The call of each thread, warmed up."""
        key = (source, callers)
        if key not in self._calls:
            array = self._array(source)
            self._calls[key] = [self._adapter.caller(array, callers) for _ in range(callers)]
        if key not in self._seconds:
            for call in self._calls[key]:
                _warm_up(call, WARM_UP_CALLS if callers == 1 else 1, WARM_UP_SECONDS / callers)
        elif self._seconds[key] < AGAIN_SECONDS:
            _warm_up(self._calls[key][0], 1, AGAIN_SECONDS)
        return self._calls[key]


def _storable(output: Array) -> Array:
    return output.astype("S") if output.dtype == object else output


def _warm_up(call: Call, calls: int, seconds: float) -> None:
    start = time.monotonic()
    elapsed, done = 0.0, 0
    while (done < calls or elapsed < seconds) and elapsed < WARM_UP_SECONDS_AT_MOST:
        call()
        done += 1
        elapsed = time.monotonic() - start


def _time_calls(call: Call, seconds: float) -> list[int]:
    """The nanoseconds of each call until the time is over, and of one call at least."""
    clock = time.perf_counter_ns
    times: list[int] = []
    end = clock() + int(seconds * 1e9)
    stop = 0
    while stop < end:
        start = clock()
        call()
        stop = clock()
        times.append(stop - start)
    return times


def _measure(call: Call, seconds: float) -> tuple[Array, float]:
    start = time.perf_counter()
    times = _time_calls(call, seconds)
    return np.array(times), time.perf_counter() - start


def _measure_threads(calls: list[Call], seconds: float) -> tuple[Array, float]:
    """All at once, a thread for each."""
    barrier = threading.Barrier(len(calls) + 1)
    found: list[Any] = [None] * len(calls)

    def run(index: int, call: Call) -> None:
        barrier.wait()
        try:
            found[index] = _time_calls(call, seconds)
        except Exception as error:
            found[index] = error

    threads = [threading.Thread(target=run, args=item) for item in enumerate(calls)]
    for thread in threads:
        thread.start()
    barrier.wait()
    start = time.perf_counter()
    for thread in threads:
        thread.join()
    elapsed = time.perf_counter() - start
    for times in found:
        if isinstance(times, Exception):
            raise times
    return np.concatenate(found), elapsed


def _say(value: Any) -> None:
    print(json.dumps(value), file=ANSWERS, flush=True)


def main() -> None:
    """See the module."""
    # What counts the cores then counts these, whatever the machine has.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    runtime, path, first_input, threads = sys.argv[1:]
    worker = Worker(first_input)
    commands: dict[str, Callable[..., Any]] = {
        "start": worker.start,
        "answer": worker.answer,
        "measure": worker.measure,
    }
    start = json.dumps(["start", runtime, path, first_input, threads])
    for line in itertools.chain([start], sys.stdin):
        command, *arguments = json.loads(line)
        try:
            _say(commands[command](*arguments))
        except Exception as error:
            _say({"failed": f"{type(error).__name__}: {error}", "stage": worker.stage})


if __name__ == "__main__":
    main()
