"""BatchedSignature: the rows of concurrent calls in one run."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from pathlib import Path

import numpy as np
import pytest

import savedmodel
from conftest import DIGITS, SOON, assert_memory_stays, row, run_python, wait_until

Load = Callable[..., savedmodel.Model]
LONG = 60_000_000  # microseconds: only a full batch runs


@pytest.fixture
def signatures(load: Load) -> savedmodel.Signatures:
    return load("batching").signatures


class Gate:
    """A batched signature whose one thread is kept busy until the gate is opened."""

    def __init__(self, signatures: savedmodel.Signatures, **options: int) -> None:
        self._open = signatures["open"]
        self.batched = signatures["gated"].batched(num_batch_threads=1, **options)
        self.first = self.batched.submit(x=row(0))
        wait_until(lambda: self.batched.stats.batches == 1)

    def open(self, batches: int = 1000) -> None:
        """Lets that many batches end."""
        self._open(tokens=batches)


@pytest.fixture
def gate(signatures: savedmodel.Signatures) -> Iterator[Callable[..., Gate]]:
    made: list[Gate] = []

    def make(**options: int) -> Gate:
        made.append(Gate(signatures, **options))
        return made[-1]

    yield make
    for one in made:
        one.open()
        one.batched.close()


def address(array: np.ndarray) -> int:
    pointer: int = array.__array_interface__["data"][0]
    return pointer


def test_rows_are_those_of_single_calls(digits: savedmodel.Model) -> None:
    signature = digits.signatures["serving_default"]
    random = np.random.default_rng(3)
    images = [random.random((1 + i % 3, 8, 8, 1), np.float32) for i in range(24)]
    expected = [signature(image)["probabilities"] for image in images]
    with signature.batched(
        max_batch_size=16, batch_timeout_micros=200, allowed_batch_sizes=[4, 8, 16]
    ) as batched:

        def work(thread: int) -> int:
            for turn in range(100):
                at = (thread * 5 + turn) % len(images)
                result = batched(image=images[at])["probabilities"]
                np.testing.assert_allclose(result, expected[at], atol=1e-6)
            return 100

        with ThreadPoolExecutor(8) as pool:
            calls = sum(pool.map(work, range(8)))
        assert calls == 800
        stats = batched.stats
    assert stats.rows == sum(
        len(images[(thread * 5 + turn) % 24]) for thread in range(8) for turn in range(100)
    )
    assert stats.batches < calls, "no two calls ever shared a batch"
    assert (stats.rows + stats.padded_rows) % 4 == 0


def test_callers_get_their_own_rows_in_order(signatures: savedmodel.Signatures) -> None:
    batched = signatures["features"].batched(max_batch_size=6, batch_timeout_micros=LONG)
    parts = [np.arange(n, dtype=np.int64) + 100 * n for n in (1, 2, 3)]
    futures = [
        batched.submit(x=np.full((len(ids), 3), ids[0], np.float32), ids=ids) for ids in parts
    ]
    for ids, future in zip(parts, futures, strict=True):
        outputs = future.result(SOON)
        np.testing.assert_array_equal(outputs["ids"], ids + 1)
        np.testing.assert_array_equal(outputs["sum"], np.full(len(ids), 3.0 * ids[0]))
    assert batched.stats == savedmodel.BatchStats(batches=1, rows=6, padded_rows=0)


def test_results_are_views_of_one_output(signatures: savedmodel.Signatures) -> None:
    batched = signatures["any"].batched(max_batch_size=4, batch_timeout_micros=LONG)
    matrices = [np.full((n, 5), n, np.float32) for n in (1, 1, 2)]
    futures = [batched.submit(matrix=matrix) for matrix in matrices]
    first, second, third = (future.result(SOON)["doubled"] for future in futures)
    assert address(second) == address(first) + first.nbytes
    assert address(third) == address(second) + second.nbytes
    assert not any(view.flags.writeable for view in (first, second, third))
    assert address(first) % 64 == 0
    # What others of the batch do with theirs does not end it.
    del first, second, futures
    gc.collect()
    np.testing.assert_array_equal(third, np.full((2, 5), 4.0))


def test_a_call_alone_owns_its_result(signatures: savedmodel.Signatures) -> None:
    batched = signatures["any"].batched(max_batch_size=4)
    result = batched(np.ones((2, 3), np.float32))
    assert result["doubled"].flags.writeable
    np.testing.assert_array_equal(result["size"], [2, 2])


def test_rows_can_be_fed_again(signatures: savedmodel.Signatures) -> None:
    """A row of an output begins anywhere, and TensorFlow's kernels abort on that."""
    batched = signatures["any"].batched(max_batch_size=3, batch_timeout_micros=LONG)
    futures = [batched.submit(np.full((1, 5), n, np.float32)) for n in range(3)]
    rows = [future.result(SOON)["doubled"] for future in futures]
    assert any(address(one) % 64 for one in rows)
    for n, one in enumerate(rows):
        np.testing.assert_array_equal(signatures["any"](one)["doubled"], np.full((1, 5), 4.0 * n))


def test_padding_repeats_the_first_row(signatures: savedmodel.Signatures) -> None:
    options = {"max_batch_size": 8, "batch_timeout_micros": 1000, "allowed_batch_sizes": [4, 8]}
    batched = signatures["any"].batched(**options)
    outputs = batched(matrix=np.ones((3, 2), np.float32))
    np.testing.assert_array_equal(outputs["size"], [4, 4, 4])
    assert outputs["doubled"].shape == (3, 2)
    assert batched.stats == (1, 3, 1)
    # Another element than one of these three would be a fourth.
    unique = signatures["unique"].batched(**options)
    with pytest.raises(savedmodel.FailedPreconditionError, match=r"\(3,\) has not the 4 rows"):
        unique(x=row(5, 6, 7))


@pytest.mark.parametrize(("rows", "size"), [(1, 2), (2, 2), (3, 5), (5, 5), (6, 9), (9, 9)])
def test_allowed_batch_sizes(signatures: savedmodel.Signatures, rows: int, size: int) -> None:
    batched = signatures["any"].batched(max_batch_size=9, allowed_batch_sizes=(2, 5, 9))
    outputs = batched(matrix=np.zeros((rows, 1), np.float32))
    assert outputs["size"].tolist() == [size] * rows
    assert batched.stats == (1, rows, size - rows)


def test_other_sizes_go_to_other_batches(signatures: savedmodel.Signatures) -> None:
    batched = signatures["any"].batched(max_batch_size=2, batch_timeout_micros=LONG)
    futures = [batched.submit(np.full((1, width), width, np.float32)) for width in (2, 3, 3, 2)]
    for width, future in zip((2, 3, 3, 2), futures, strict=True):
        outputs = future.result(SOON)
        np.testing.assert_array_equal(outputs["doubled"], np.full((1, width), 2.0 * width))
        assert outputs["size"] == [2]
    assert batched.stats.batches == 2


def test_a_batch_that_the_next_call_does_not_fit_in_runs(
    signatures: savedmodel.Signatures,
) -> None:
    batched = signatures["any"].batched(max_batch_size=4, batch_timeout_micros=LONG)
    early = batched.submit(np.zeros((3, 1), np.float32))
    late = batched.submit(np.zeros((2, 1), np.float32))
    assert early.result(SOON)["size"].tolist() == [3, 3, 3]
    batched.close()
    assert late.result(SOON)["size"].tolist() == [2, 2]


def test_no_rows(signatures: savedmodel.Signatures) -> None:
    batched = signatures["any"].batched(max_batch_size=4, allowed_batch_sizes=[4])
    outputs = batched(np.zeros((0, 3), np.float32))
    assert outputs["doubled"].shape == (0, 3)
    assert outputs["size"].shape == (0,)


def test_strings(signatures: savedmodel.Signatures) -> None:
    batched = signatures["words"].batched(
        max_batch_size=8, batch_timeout_micros=LONG, allowed_batch_sizes=[8]
    )
    words = [[b"a"], [b"", b"\0nul", b"a word that is too long to be kept inline"], [b"x"] * 4]
    futures = [batched.submit(words=np.array(part, object)) for part in words]
    for part, future in zip(words, futures, strict=True):
        outputs = future.result(SOON)
        assert outputs["words"].tolist() == part
        assert outputs["upper"].tolist() == [word.upper() for word in part]


def test_an_input_that_is_left_out_has_no_rows(load: Load) -> None:
    signature = load("batching_with_default").signatures["serving_default"]
    batched = signature.batched(max_batch_size=4, batch_timeout_micros=LONG)
    futures = [batched.submit(x=row(n, n)) for n in (1, 2)]
    assert [future.result(SOON)["y"].tolist() for future in futures] == [[2.5, 2.5], [5, 5]]
    with pytest.raises(ValueError, match="'scale': a scalar has no rows"):
        batched(x=row(1), scale=np.float32(2))


def test_what_is_wrong_with_an_input_is_raised_before_anything_is_enqueued(
    signatures: savedmodel.Signatures,
) -> None:
    batched = signatures["features"].batched(max_batch_size=2, batch_timeout_micros=LONG)
    x, ids = np.zeros((1, 3), np.float32), np.zeros(1, np.int64)
    for inputs, error, message in (
        ({"x": x.astype(np.float64), "ids": ids}, TypeError, "float64"),
        ({"x": x[0], "ids": ids}, ValueError, "'x': expected float32"),
        ({"x": x}, ValueError, "missing input 'ids'"),
        ({"x": x, "ids": ids, "y": x}, ValueError, "no input 'y'"),
        ({"x": x, "ids": np.zeros(2, np.int64)}, ValueError, "unequal numbers of rows"),
        (
            {"x": np.zeros((3, 3), np.float32), "ids": np.zeros(3, np.int64)},
            ValueError,
            "3 rows are more than max_batch_size, 2",
        ),
    ):
        for call in (batched, batched.submit, lambda b=batched, **given: b.run(given)):
            with pytest.raises(error, match=message):
                call(**inputs)
    batched.close()
    assert batched.stats == (0, 0, 0)


def test_signatures_that_cannot_be_batched(signatures: savedmodel.Signatures) -> None:
    with pytest.raises(ValueError, match="'total'.*cannot be batched: output 'total'"):
        signatures["total"].batched()
    with pytest.raises(ValueError, match="cannot be batched: input 'x' is float32"):
        signatures["fixed"].batched()
    with pytest.raises(savedmodel.FailedPreconditionError, match="output 'unique'"):
        signatures["unique"].batched()(x=row(1, 1))


@pytest.mark.parametrize(
    "options",
    [
        {"max_batch_size": 0},
        {"batch_timeout_micros": -1},
        {"max_enqueued_batches": 0},
        {"num_batch_threads": 0},
        {"num_batch_threads": -1},
        {"max_batch_size": 4, "allowed_batch_sizes": [2]},
        {"max_batch_size": 4, "allowed_batch_sizes": [2, 2, 4]},
        {"max_batch_size": 4, "allowed_batch_sizes": [0, 4]},
    ],
    ids=str,
)
def test_options_that_make_no_sense(
    signatures: savedmodel.Signatures, options: dict[str, int]
) -> None:
    with pytest.raises(ValueError, match=next(reversed(options))):
        signatures["any"].batched(**options)


def test_a_batch_that_fails_fails_for_each_of_its_callers(
    signatures: savedmodel.Signatures,
) -> None:
    batched = signatures["root"].batched(max_batch_size=3, batch_timeout_micros=LONG)
    futures = [batched.submit(x=row(value)) for value in (4, -1, 9)]
    for future in futures:
        with pytest.raises(savedmodel.InvalidArgumentError, match="negative number"):
            future.result(SOON)
    futures = [batched.submit(x=row(value)) for value in (4, 1, 9)]
    assert [future.result(SOON)["root"].tolist() for future in futures] == [[2], [1], [3]]


def test_a_full_queue_refuses(gate: Callable[..., Gate]) -> None:
    busy = gate(max_batch_size=2, max_enqueued_batches=2)
    futures = [busy.batched.submit(x=row(n)) for n in (1, 2, 3, 4)]
    with pytest.raises(savedmodel.UnavailableError, match="2 batches wait"):
        busy.batched.submit(x=row(5))
    with pytest.raises(savedmodel.UnavailableError, match="max_enqueued_batches"):
        busy.batched(x=row(5))
    busy.open()
    assert [future.result(SOON)["passed"].item() for future in futures] == [2, 4, 6, 8]
    assert busy.batched(x=row(5))["passed"] == [10]


def test_rows_gather_while_the_threads_are_busy(gate: Callable[..., Gate]) -> None:
    busy = gate(max_batch_size=100)
    futures = [busy.batched.submit(x=row(n)) for n in range(20)]
    assert busy.batched.stats.batches == 1
    busy.open()
    assert [future.result(SOON)["passed"].item() for future in futures] == [
        2.0 * n for n in range(20)
    ]
    assert busy.batched.stats == (2, 21, 0)


def test_a_cancelled_call_leaves_the_queue(gate: Callable[..., Gate]) -> None:
    busy = gate(max_batch_size=100)
    array = savedmodel.aligned_empty((1,))
    references = sys.getrefcount(array)
    kept = busy.batched.submit(x=row(1))
    dropped = busy.batched.submit(x=array)
    assert sys.getrefcount(array) > references, "it is not read in place"
    assert dropped.cancel()
    assert dropped.cancel()
    assert dropped.cancelled()
    with pytest.raises(CancelledError):
        dropped.result()
    assert wait([dropped], SOON).not_done == set()
    busy.open()
    assert kept.result(SOON)["passed"] == [2]
    assert busy.batched.stats.rows == 2
    assert not kept.cancel()
    assert sys.getrefcount(array) == references, "a cancelled call keeps its input"


def test_a_call_that_is_cancelled_in_its_batch(gate: Callable[..., Gate]) -> None:
    busy = gate(max_batch_size=100)
    assert busy.first.cancel()
    with pytest.raises(CancelledError):
        busy.first.result()
    busy.open()
    assert busy.batched(x=row(3))["passed"] == [6]
    assert wait([busy.first], SOON).not_done == set()


def test_a_timeout_takes_the_rows_out_of_the_queue(gate: Callable[..., Gate]) -> None:
    busy = gate(max_batch_size=100)
    with pytest.raises(savedmodel.DeadlineExceededError, match="'gated'"):
        busy.batched.run({"x": row(1)}, timeout=0.01)
    with pytest.raises(TimeoutError):
        busy.batched.run({"x": row(1)}, timeout=-1)
    kept = busy.batched.submit(x=row(2))
    busy.open()
    assert kept.result(SOON)["passed"] == [4]
    assert busy.batched.stats.rows == 2
    assert busy.batched.run({"x": row(7)}, timeout=1e300)["passed"] == [14]


def test_a_timeout_of_a_call_whose_batch_runs(signatures: savedmodel.Signatures) -> None:
    batched = signatures["gated"].batched(num_batch_threads=1)
    timeout = 0.05
    while batched.stats.batches == 0:  # else the row had not left the queue yet
        assert timeout < SOON
        with pytest.raises(savedmodel.DeadlineExceededError):
            batched.run({"x": row(1)}, timeout=timeout)
        timeout *= 2
    assert batched.stats.batches == 1
    signatures["open"](tokens=2)
    assert batched.run({"x": row(2)}, timeout=SOON)["passed"] == [4]


def test_close_finishes_what_is_enqueued(gate: Callable[..., Gate]) -> None:
    busy = gate(max_batch_size=2)
    futures = [busy.batched.submit(x=row(n)) for n in range(5)]
    assert not busy.batched.close(limit=0.01)
    with pytest.raises(savedmodel.FailedPreconditionError, match="was closed"):
        busy.batched(x=row(1))
    busy.open()
    assert busy.batched.close()
    assert [future.result(SOON)["passed"].item() for future in futures] == [0, 2, 4, 6, 8]
    with pytest.raises(savedmodel.FailedPreconditionError, match="was closed"):
        busy.batched.submit(x=row(1))


def test_a_context_manager_closes(signatures: savedmodel.Signatures) -> None:
    with signatures["any"].batched(max_batch_size=9, batch_timeout_micros=LONG) as batched:
        future = batched.submit(np.ones((1, 1), np.float32))
        assert batched.signature is signatures["any"]
    assert future.done() or future.result(SOON)
    with pytest.raises(savedmodel.FailedPreconditionError):
        batched(np.ones((1, 1), np.float32))


def test_closing_the_model(load: Load) -> None:
    model = load("batching")
    batched = model.signatures["any"].batched(max_batch_size=2, batch_timeout_micros=LONG)
    early = batched.submit(np.ones((1, 1), np.float32))
    model.close()
    late = batched.submit(np.ones((1, 1), np.float32))
    for future in (early, late):
        with pytest.raises(savedmodel.FailedPreconditionError, match="closed"):
            future.result(SOON)


def test_the_last_reference_finishes_the_queue_and_ends_the_threads(
    signatures: savedmodel.Signatures,
) -> None:
    def threads() -> int:
        return len(list(Path("/proc/self/task").iterdir()))

    signatures["any"](np.ones((1, 1), np.float32))
    with signatures["any"].batched() as batched:  # starts what stays: the futures' thread
        batched.submit(np.ones((1, 1), np.float32)).result(SOON)
    wait_until(lambda: True)
    before = threads()
    futures: list[Future[dict[str, np.ndarray]]] = []
    for _ in range(5):
        batched = signatures["any"].batched(max_batch_size=9, batch_timeout_micros=LONG)
        futures.append(batched.submit(np.ones((1, 1), np.float32)))
    del batched
    gc.collect()
    assert [future.result(SOON)["size"].tolist() for future in futures] == [[1]] * 5
    wait_until(lambda: threads() <= before)


def test_many_threads_calling_cancelling_and_closing(digits: savedmodel.Model) -> None:
    """Each call ends: with the right answer, cancelled, refused or closed."""
    signature = digits.signatures["serve"]
    image = np.random.default_rng(1).random((1, 8, 8, 1), np.float32)
    expected = signature(image)["probabilities"]
    for _ in range(5):
        batched = signature.batched(max_batch_size=4, batch_timeout_micros=100)
        begun: list[int] = []
        ended: list[str] = []

        def work(
            seed: int,
            batched: savedmodel.BatchedSignature = batched,
            begun: list[int] = begun,
            ended: list[str] = ended,
        ) -> None:
            random = np.random.default_rng(seed)
            while True:
                begun.append(seed)
                try:
                    if random.random() < 0.5:
                        future = batched.submit(image)
                        if random.random() < 0.5:
                            future.cancel()
                        result = future.result(SOON)
                    else:
                        result = batched.run({"image": image}, timeout=random.random() / 1000)
                    np.testing.assert_allclose(result["probabilities"], expected, atol=1e-6)
                except (CancelledError, savedmodel.DeadlineExceededError):
                    continue
                except savedmodel.UnavailableError:
                    continue
                except savedmodel.FailedPreconditionError:
                    ended.append("closed")
                    return

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
        for thread in threads:
            thread.start()
        wait_until(lambda begun=begun: len(begun) > 500 and len(set(begun)) == 6)
        batched.close()
        for thread in threads:
            thread.join(SOON)
        assert ended == ["closed"] * 6


def test_memory_is_bounded(signatures: savedmodel.Signatures) -> None:
    """Neither results, nor refused, nor cancelled calls are kept."""
    batched = signatures["any"].batched(max_batch_size=2, batch_timeout_micros=100)
    matrix = np.ones((1, 250_000), np.float32)

    def spend() -> None:
        for _ in range(40):
            futures = [batched.submit(matrix) for _ in range(4)]
            futures[1].cancel()
            for future in futures:
                if not future.cancelled():
                    future.result(SOON)
            with pytest.raises(ValueError, match="max_batch_size"):
                batched(np.ones((3, 250_000), np.float32))

    # 160 MB go through, and each kind that is kept would be 40 MB.
    assert_memory_stays(spend, rounds=1, warm_up=1, most=30_000_000)


def test_asyncio(signatures: savedmodel.Signatures) -> None:
    async def main() -> None:
        batched = signatures["any"].batched(max_batch_size=10, batch_timeout_micros=LONG)
        results = await asyncio.gather(
            *(batched.run_async(matrix=np.full((1, 1), n, np.float32)) for n in range(10))
        )
        assert [result["doubled"].item() for result in results] == [2.0 * n for n in range(10)]
        assert batched.stats.batches == 1
        with pytest.raises(TypeError):
            await batched.run_async(matrix=np.ones((1, 1)))

    asyncio.run(main())


def test_a_cancelled_task_is_dropped_at_once(gate: Callable[..., Gate]) -> None:
    busy = gate(max_batch_size=100)

    async def main() -> None:
        task = asyncio.create_task(busy.batched.run_async(x=row(1)))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(busy.batched.run_async(x=row(2)), 0.01)

    asyncio.run(main())
    busy.open()
    busy.batched.close()
    assert busy.batched.stats.rows == 1


@pytest.mark.parametrize("ending", ["return", "exit", "exception"])
def test_the_interpreter_ends_with_calls_at_work(ending: str) -> None:
    done = run_python(
        """
import sys, threading
import numpy as np, savedmodel
model = savedmodel.load(sys.argv[1])
batched = model.signatures["serve"].batched(max_batch_size=8, batch_timeout_micros=200)
image = np.zeros((1, 8, 8, 1), np.float32)
calls = threading.Semaphore(0)
def work():
    while True:
        batched(image)
        batched.submit(image).result()
        calls.release()
for _ in range(4):
    threading.Thread(target=work, daemon=True).start()
for _ in range(100):
    calls.acquire()
waiting = model.signatures["serve"].batched(max_batch_size=8, batch_timeout_micros=10**9)
waiting.submit(image).add_done_callback(lambda future: print("resolved", flush=True))
print("end", flush=True)
if sys.argv[2] == "exit": sys.exit(0)
if sys.argv[2] == "exception": raise KeyboardInterrupt
""",
        str(DIGITS),
        ending,
    )
    assert done.stdout == "end\nresolved\n", done.stderr
    assert done.returncode == (-2 if ending == "exception" else 0), done.stderr
    assert "terminate" not in done.stderr
    assert "Fatal" not in done.stderr


def test_fork() -> None:
    done = run_python(
        """
import os, sys, signal
import numpy as np, savedmodel
model = savedmodel.load(sys.argv[1])
signature = model.signatures["serve"]
batched = signature.batched(max_batch_size=2, batch_timeout_micros=1000)
image = np.zeros((1, 8, 8, 1), np.float32)
batched(image)
pending = batched.submit(image)
child = os.fork()
if child == 0:
    signal.alarm(200)
    refused = 0
    for use in (batched, batched.submit, signature.submit):
        try:
            use(image)
        except savedmodel.FailedPreconditionError as error:
            assert "fork" in str(error), error
            refused += 1
    assert refused == 3
    pending.cancel()
    batched.stats
    batched.close()
    del batched, model, signature
    sys.exit(0)
_, status = os.waitpid(child, 0)
assert status == 0, status
assert batched(image)["probabilities"].shape == (1, 10)
assert pending.result(200)
""",
        str(DIGITS),
    )
    assert done.returncode == 0, done.stderr
