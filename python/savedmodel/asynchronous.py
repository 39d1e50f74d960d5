"""Calls that do not wait: `submit` and `run_async`, of a Signature and of a BatchedSignature.

A signature's calls run in a pool of Python threads, which `concurrent.futures` ends with the
interpreter. A batch runs on a thread of C++ that never touches Python; one daemon thread here
carries what it answers to the futures.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
import weakref
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from savedmodel import _native

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    Outputs = dict[str, npt.NDArray[Any]]
    Arguments = tuple[Any, ...]
    Inputs = dict[str, Any]

__all__ = [
    "close_at_exit",
    "run_async",
    "run_batched_async",
    "submit",
    "submit_batched",
]

# What batches that still run get when the interpreter ends, as calls of daemon threads do.
_SECONDS_AT_EXIT = 5.0


_T = TypeVar("_T")


def _once(make: Callable[[], _T]) -> Callable[[], _T]:
    """What the first call, of any thread, makes."""
    lock = threading.Lock()
    made: list[_T] = []

    def get() -> _T:
        if not made:
            with lock:
                if not made:
                    made.append(make())
        return made[0]

    return get


class _CallFuture(Future["dict[str, npt.NDArray[Any]]"]):
    """The future of a call, pending until the call has ended, so that it can be cancelled."""

    call: _native.PreparedCall | _native.SubmittedCall

    def cancel(self) -> bool:
        if not super().cancel():
            return False
        if self.call.cancel():
            # It left its queue: nobody else will tell those who wait for several futures.
            self.set_running_or_notify_cancel()
        return True

    def resolve(self, outputs: Outputs | None, error: BaseException | None) -> None:
        if not self.set_running_or_notify_cancel():
            return
        if error is not None:
            self.set_exception(error)
        elif outputs is not None:
            self.set_result(outputs)


_pool = _once(lambda: ThreadPoolExecutor(thread_name_prefix="savedmodel"))


def _run(future: _CallFuture, call: _native.PreparedCall) -> None:
    try:
        outputs = call.run()  # raises at once if it was cancelled
    except BaseException as error:  # whoever asks the future gets it
        future.resolve(None, error)
    else:
        future.resolve(outputs, None)


def submit(signature: _native.Signature, args: Arguments, inputs: Inputs) -> Future[Outputs]:
    """See `Signature.submit`."""
    future = _CallFuture()
    call = future.call = _native.PreparedCall(signature, args, inputs)
    _pool().submit(_run, future, call)
    return future


async def run_async(signature: _native.Signature, args: Arguments, inputs: Inputs) -> Outputs:
    """See `Signature.run_async`."""
    return await asyncio.wrap_future(submit(signature, args, inputs))


class _Carrier:
    """The thread that resolves the futures of batched calls, and what the end of Python closes."""

    def __init__(self) -> None:
        self._process = os.getpid()
        self._open: weakref.WeakSet[_native.BatchedSignature] = weakref.WeakSet()
        self._thread = threading.Thread(target=self._carry, name="savedmodel-futures", daemon=True)
        self._thread.start()
        atexit.register(self._end)

    def add(self, batched: _native.BatchedSignature) -> None:
        self._open.add(batched)

    def _carry(self) -> None:
        while completed := _native.wait_for_completions():
            for future, outputs, error in completed:
                future.resolve(outputs, error)
            del completed, future, outputs, error

    def _end(self) -> None:
        if os.getpid() != self._process:
            return  # a fork has neither the thread nor those of the batches
        for batched in list(self._open):
            batched.close(limit=_SECONDS_AT_EXIT)
        _native.stop_completions()
        self._thread.join(_SECONDS_AT_EXIT)


_carrier = _once(_Carrier)


def close_at_exit(batched: _native.BatchedSignature) -> None:
    """Lets what is enqueued end, and its futures be resolved, before the interpreter does."""
    _carrier().add(batched)


def submit_batched(
    batched: _native.BatchedSignature, args: Arguments, inputs: Inputs
) -> Future[Outputs]:
    """See `BatchedSignature.submit`."""
    future = _CallFuture()
    future.call = batched._submit(future, args, inputs)
    return future


async def run_batched_async(
    batched: _native.BatchedSignature, args: Arguments, inputs: Inputs
) -> Outputs:
    """See `BatchedSignature.run_async`."""
    return await asyncio.wrap_future(submit_batched(batched, args, inputs))
