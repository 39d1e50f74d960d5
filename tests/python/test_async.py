"""Signature.submit and Signature.run_async."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, as_completed, wait

import numpy as np
import pytest

import savedmodel
from conftest import DIGITS, SOON, row, run_python, wait_until
from savedmodel import asynchronous

Load = Callable[..., savedmodel.Model]
MANY = 64  # more calls than the pool has threads


def a_call_runs() -> bool:
    """Whether a thread of the pool is in a call, which is no Python frame of its own."""
    frames = sys._current_frames().values()
    return any(frame.f_code is asynchronous._run.__code__ for frame in frames)


@pytest.fixture
def signatures(load: Load) -> savedmodel.Signatures:
    return load("batching").signatures


def test_the_future_gives_what_the_call_returns(digits: savedmodel.Model) -> None:
    signature = digits.signatures["serving_default"]
    random = np.random.default_rng(0)
    images = [random.random((1 + n % 3, 8, 8, 1), np.float32) for n in range(50)]
    futures = [signature.submit(image=image) for image in images]
    for image, future in zip(images, futures, strict=True):
        expected = signature(image)
        result = future.result(SOON)
        assert result.keys() == expected.keys()
        np.testing.assert_array_equal(result["probabilities"], expected["probabilities"])
        assert result["probabilities"].flags.writeable
    assert len(list(as_completed(futures, SOON))) == 50


def test_inputs_are_checked_by_the_caller(digits: savedmodel.Model) -> None:
    signature = digits.signatures["serving_default"]
    with pytest.raises(TypeError, match="float64"):
        signature.submit(image=np.zeros((1, 8, 8, 1)))
    with pytest.raises(ValueError, match="expected float32 with shape"):
        signature.submit(image=np.zeros((1, 8, 8), np.float32))
    with pytest.raises(ValueError, match="no input 'picture'"):
        signature.submit(picture=np.zeros((1, 8, 8, 1), np.float32))
    with pytest.raises(ValueError, match="missing input"):
        signature.submit()


def test_what_the_run_raises_is_the_futures(signatures: savedmodel.Signatures) -> None:
    future = signatures["root"].submit(x=row(-1))
    with pytest.raises(savedmodel.InvalidArgumentError, match="negative number"):
        future.result(SOON)
    assert isinstance(future.exception(), ValueError)


def test_inputs_are_released_with_the_call(signatures: savedmodel.Signatures) -> None:
    array = savedmodel.aligned_empty((1, 3))
    array[:] = 1
    references = sys.getrefcount(array)
    future = signatures["any"].submit(array)
    assert future.result(SOON)["doubled"].tolist() == [[2, 2, 2]]
    # The worker's own frame goes a moment later.
    wait_until(lambda: sys.getrefcount(array) == references)


def test_a_call_that_waits_is_dropped(signatures: savedmodel.Signatures) -> None:
    """More calls than threads, all of which wait at the gate."""
    futures = [signatures["gated"].submit(x=row(n)) for n in range(MANY)]
    last = futures[-1]
    assert last.cancel()
    assert last.cancelled()
    with pytest.raises(CancelledError):
        last.result()
    signatures["open"](tokens=MANY - 1)  # one too few for all
    for n, future in enumerate(futures[:-1]):
        assert future.result(SOON)["passed"] == [2 * n]
    assert wait([last], SOON).not_done == set()


def test_a_call_that_runs_is_cancelled_at_once(signatures: savedmodel.Signatures) -> None:
    """TensorFlow's run goes on, and what it gives is dropped."""
    future = signatures["gated"].submit(x=row(1))
    wait_until(a_call_runs)
    assert not future.done()
    assert future.cancel()
    with pytest.raises(CancelledError):
        future.result()
    signatures["open"](tokens=1)
    assert wait([future], SOON).not_done == set()
    assert not signatures["any"].submit(np.ones((1, 1), np.float32)).exception(SOON)


def test_closing_the_model(load: Load) -> None:
    model = load("batching")
    signature = model.signatures["any"]
    model.close()
    with pytest.raises(savedmodel.FailedPreconditionError):
        signature.submit(np.ones((1, 1), np.float32)).result(SOON)


def test_asyncio(signatures: savedmodel.Signatures) -> None:
    async def main() -> None:
        signature = signatures["any"]
        results = await asyncio.gather(
            *(signature.run_async(matrix=np.full((1, 2), n, np.float32)) for n in range(MANY))
        )
        for n, result in enumerate(results):
            assert result["doubled"].tolist() == [[2.0 * n, 2.0 * n]]
        with pytest.raises(TypeError):
            await signature.run_async(matrix=np.ones((1, 1)))
        with pytest.raises(savedmodel.InvalidArgumentError):
            await signatures["root"].run_async(x=row(-1))

    asyncio.run(main())


async def until(holds: Callable[[], bool]) -> None:
    """`wait_until` where the event loop has to go on."""
    end = time.monotonic() + SOON
    while not holds():
        assert time.monotonic() < end
        await asyncio.sleep(0.001)


def test_a_cancelled_task_ends_at_once(signatures: savedmodel.Signatures) -> None:
    async def main() -> None:
        array = savedmodel.aligned_empty((1,))
        task = asyncio.create_task(signatures["gated"].run_async(array))
        await until(a_call_runs)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(signatures["gated"].run_async(row(1)), 0.01)
        signatures["open"](tokens=2)
        references = 2  # `array` and getrefcount's own
        await until(lambda: sys.getrefcount(array) <= references)  # a cancelled call keeps no input

    asyncio.run(main())


def test_the_event_loop_goes_on_during_a_call(signatures: savedmodel.Signatures) -> None:
    async def main() -> None:
        call = asyncio.create_task(signatures["gated"].run_async(row(4)))
        await until(a_call_runs)
        assert not call.done()
        signatures["open"](tokens=1)
        assert (await call)["passed"] == [8]

    asyncio.run(main())


def test_many_threads_submit(digits: savedmodel.Model) -> None:
    signature = digits.signatures["serve"]
    image = np.random.default_rng(2).random((1, 8, 8, 1), np.float32)
    expected = signature(image)["probabilities"]
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(50):
                futures = [signature.submit(image) for _ in range(4)]
                futures[0].cancel()
                for future in futures[1:]:
                    np.testing.assert_array_equal(future.result(SOON)["probabilities"], expected)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(2 * SOON)
    assert failures == []


def test_the_interpreter_waits_for_what_was_submitted() -> None:
    done = run_python(
        """
import sys
import numpy as np, savedmodel
signature = savedmodel.load(sys.argv[1]).signatures["serve"]
for _ in range(100):
    last = signature.submit(np.zeros((1, 8, 8, 1), np.float32))
last.add_done_callback(lambda future: print(future.result()["probabilities"].shape, flush=True))
print("end", flush=True)
""",
        str(DIGITS),
    )
    # Two threads print: `print` writes a line and its end apart, and the other may come between.
    assert "end" in done.stdout, done.stderr
    assert "(1, 10)" in done.stdout, done.stderr
    assert done.returncode == 0, done.stderr
