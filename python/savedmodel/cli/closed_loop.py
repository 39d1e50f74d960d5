"""A closed loop: threads that call again as soon as they are answered, and how long that takes."""

from __future__ import annotations

import threading
import time
from array import array
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class Samples(NamedTuple):
    """What was measured.

    `latencies_ns`: of every measured call, sorted. `elapsed_ns`: from the first start to the last
    end. `all_calls`: how many were made, the unmeasured ones of the warm-up too.
    """

    latencies_ns: npt.NDArray[np.int64]
    elapsed_ns: int
    all_calls: int

    def percentile_ns(self, percent: float) -> int:
        """Return the least latency that `percent` of the calls do not exceed: one of theirs."""
        import numpy as np

        return int(np.percentile(self.latencies_ns, percent, method="inverted_cdf"))


def run(
    calls: Sequence[Callable[[], Any]],
    *,
    warmup_s: float,
    duration_s: float,
    on_measure: Callable[[], None] = lambda: None,
) -> Samples:
    """Call each of `calls` on a thread of its own: for `warmup_s`, then measured for `duration_s`.

    Each thread makes at least one measured call, and each call that was begun is measured to its
    end: else slow calls would count less. `on_measure` is called, on the calling thread, when
    measuring begins. Raises what the first call that fails raises.
    """
    import numpy as np

    loop = _Loop(warmup_s, duration_s)
    workers = [_Worker(call, loop) for call in calls]
    try:
        for worker in workers:
            worker.start()
        loop.begin()
        loop.stop.wait(warmup_s)
        if not loop.stop.is_set():
            on_measure()
        for worker in workers:
            while worker.is_alive():
                # An interrupt that comes just before the wait is seen after it.
                worker.join(timeout=1)
    except BaseException:
        loop.end_early()
        raise
    for worker in workers:
        if worker.error is not None:
            raise worker.error
    stamps = [np.frombuffer(worker.stamps, np.int64) for worker in workers]
    latencies = np.sort(np.concatenate([np.diff(times) for times in stamps]))
    return Samples(
        latencies,
        int(max(times[-1] for times in stamps) - min(times[0] for times in stamps)),
        len(latencies) + sum(worker.warmup_calls for worker in workers),
    )


class _Loop:
    """When the threads of one measurement begin, measure and end."""

    def __init__(self, warmup_s: float, duration_s: float) -> None:
        self._warmup_ns = round(warmup_s * 1e9)
        self._duration_ns = round(duration_s * 1e9)
        self.begun = threading.Event()
        self.stop = threading.Event()
        self.measure_ns = 0
        self.end_ns = 0

    def begin(self) -> None:
        self.measure_ns = time.perf_counter_ns() + self._warmup_ns
        self.end_ns = self.measure_ns + self._duration_ns
        self.begun.set()

    def end_early(self) -> None:
        self.measure_ns = self.end_ns = 0
        self.stop.set()
        self.begun.set()


class _Worker(threading.Thread):
    def __init__(self, call: Callable[[], Any], loop: _Loop) -> None:
        super().__init__(daemon=True)
        self._call = call
        self._loop = loop
        # The time before the first measured call, and after each: 8 bytes a call.
        self.stamps = array("q")
        self.warmup_calls = 0
        self.error: BaseException | None = None

    def run(self) -> None:
        loop, call, clock = self._loop, self._call, time.perf_counter_ns
        stamps = self.stamps
        try:
            loop.begun.wait()
            while clock() < loop.measure_ns:
                call()
                self.warmup_calls += 1
            now = clock()
            stamps.append(now)
            while True:
                call()
                # One reading of the clock a call: the end of one is the beginning of the next.
                now = clock()
                stamps.append(now)
                if now >= loop.end_ns:
                    break
        except BaseException as error:
            self.error = error
            loop.end_early()
