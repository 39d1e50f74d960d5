"""Many threads, many models, interpreter exit, fork."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import savedmodel
from conftest import DIGITS, SOON, run_python, wait_until

Load = Callable[..., savedmodel.Model]
SHORT = 5e-6  # seconds; kShortRun of cpp/src/run/engines.cc


def image_of(seed: int) -> np.ndarray:
    image = savedmodel.aligned_empty((1 + seed % 3, 8, 8, 1))
    image[:] = np.random.default_rng(seed).random(image.shape)
    return image


def test_many_threads_on_one_model(digits: savedmodel.Model) -> None:
    signature = digits.signatures["serving_default"]
    images = [image_of(seed) for seed in range(16)]
    expected = [signature(image)["probabilities"] for image in images]

    def work(thread: int) -> None:
        for turn in range(200):
            at = (thread * 7 + turn) % len(images)
            result = signature(image=images[at])["probabilities"]
            np.testing.assert_array_equal(result, expected[at])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))


def test_the_first_call_from_many_threads(load: Load) -> None:
    """The callable is made by one of them; the others wait or use it."""
    for _ in range(5):
        signature = load("keras_mlp").signatures["serving_default"]
        ((name, spec),) = signature.inputs.items()
        x = np.ones([d or 1 for d in spec.shape or ()], spec.dtype)
        barrier = threading.Barrier(8)

        def first(_: int, b: threading.Barrier = barrier) -> bytes:
            b.wait()
            (output,) = signature.run({name: x}).values()
            return output.tobytes()

        with ThreadPoolExecutor(8) as pool:
            assert len(set(pool.map(first, range(8)))) == 1


def test_the_session_is_made_by_many_threads_at_once() -> None:
    """That of a model which needs none, while others call it."""
    done = run_python(
        """
import sys, threading
from concurrent.futures import ThreadPoolExecutor
import savedmodel, numpy as np
image = np.random.default_rng(0).random((1, 8, 8, 1)).astype(np.float32)
model = savedmodel.load(sys.argv[1])
signature = model.signatures["serve"]
barrier = threading.Barrier(8)
fetch, feed = signature.outputs["probabilities"].name, signature.inputs["image"].name

def work(thread):
    barrier.wait()
    if thread % 2 == 0:
        return [signature(image)["probabilities"] for _ in range(500)][-1]
    return model.session.run({feed: image}, [fetch])[0]

with ThreadPoolExecutor(8) as pool:
    answers = list(pool.map(work, range(8)))
for answer in answers:
    np.testing.assert_allclose(answer, answers[0], rtol=1e-5)
""",
        str(DIGITS),
    )
    assert done.returncode == 0, done.stderr


def warm(call: Callable[[], object]) -> float:
    """So often that at least one call was not held up by another process: its seconds."""
    shortest = float("inf")
    for _ in range(1000):
        start = time.perf_counter()
        call()
        shortest = min(shortest, time.perf_counter() - start)
    return shortest


def whether_others_get_the_gil(call: Callable[[], object], enough: Callable[[int], bool]) -> bool:
    """Whether a thread that waits for the GIL gets it, until that many calls are enough."""
    wake, woken = threading.Event(), threading.Event()

    def wait() -> None:
        wake.wait()
        woken.set()

    thread = threading.Thread(target=wait)
    thread.start()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(10 * SOON)  # no thread gives the GIL up unless it is made to
    try:
        wake.set()
        calls = 0
        while not woken.is_set() and not enough(calls):
            call()
            calls += 1
        return woken.is_set()
    finally:
        sys.setswitchinterval(interval)
        thread.join()


def test_short_calls_keep_the_gil(load: Load) -> None:
    """Who waits for it gets it between calls, when Python says so, not by each of them."""
    signature = load("changing_weights").signatures["predict"]
    if signature.runner.name != "engine":
        pytest.skip("only the engine knows what is short")
    x = savedmodel.aligned_empty((1, 4))
    x[:] = 0.5
    bound = signature.bind(x)
    for call in (bound, lambda: signature(x), lambda: signature(x=x)):
        if warm(call) > SHORT:
            pytest.skip("no call is short on this machine")
        assert not whether_others_get_the_gil(call, lambda calls: calls == 500)


def test_large_sizes_are_not_short_for_as_many_bytes(load: Load) -> None:
    signature = load("product_of_inputs").signatures["serving_default"]
    row, column = savedmodel.aligned_empty((1, 512)), savedmodel.aligned_empty((512, 1))
    row[:], column[:] = 1, 2
    warm(lambda: signature(x=row, y=column))
    # Where all cores are busy it takes many calls until the system lets the other thread run.
    end = time.monotonic() + SOON
    assert whether_others_get_the_gil(
        lambda: signature(x=column, y=row), lambda _: time.monotonic() > end
    )


def test_short_calls_while_variables_change(load: Load) -> None:
    """What was short a moment ago then has to wait for locks, without the GIL."""
    signatures = load("changing_weights").signatures
    x = savedmodel.aligned_empty((1, 4))
    x[:] = 0.5
    bound = signatures["predict"].bind(x)
    warm(bound)
    ends = threading.Event()
    failures = []

    def call() -> None:
        smallest = bound()["y"].sum()
        while not ends.is_set():
            total = bound()["y"].sum()
            if total < smallest:  # the bias only grows
                failures.append((smallest, total))
            smallest = total

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(50):
        signatures["shift"](by=np.float32(0.25))
        time.sleep(0.001)
    ends.set()
    for thread in threads:
        thread.join()
    assert failures == []
    np.testing.assert_array_equal(bound()["y"], signatures["predict"](x)["y"])


def test_what_a_short_call_lets_go_of(load: Load) -> None:
    """The last reference to an array may be TensorFlow's; its finalizer may call the model."""
    signature = load("changing_weights").signatures["predict"]
    x = savedmodel.aligned_empty((1, 4))
    x[:] = 0.5
    expected = signature(x)["y"]
    warm(lambda: signature(x))
    ended = []

    class Owned(np.ndarray[Any, Any]):
        def __del__(self) -> None:
            if self.base is not None:
                ended.append(signature(x)["y"])

    for _ in range(100):
        np.testing.assert_array_equal(signature(x.view(Owned))["y"], expected)

    def all_ended() -> bool:
        signature(x)  # what a thread of TensorFlow let go of goes with the next call
        return len(ended) >= 100

    wait_until(all_ended)
    np.testing.assert_array_equal(ended, [expected] * 100)


def test_many_models_loaded_and_closed_at_once() -> None:
    image = image_of(2)
    with savedmodel.load(DIGITS) as model:
        expected = model.signatures["serve"](image)["probabilities"]

    def work(_: int) -> None:
        for _ in range(5):
            with savedmodel.load(DIGITS) as model:
                result = model.signatures["serve"](image)["probabilities"]
            np.testing.assert_array_equal(result, expected)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))


def test_closing_under_calls() -> None:
    """Each call either gives the right answer or says that the model is closed."""
    for _ in range(5):
        model = savedmodel.load(DIGITS)
        signature = model.signatures["serve"]
        image = image_of(1)
        expected = signature(image)["probabilities"]
        begun: list[int] = []
        ended: list[int] = []

        def work(
            call: savedmodel.Signature = signature,
            given: np.ndarray = image,
            right: np.ndarray = expected,
            calls: list[int] = begun,
            done: list[int] = ended,
        ) -> None:
            while True:
                calls.append(1)
                try:
                    np.testing.assert_array_equal(call(given)["probabilities"], right)
                except savedmodel.FailedPreconditionError:
                    done.append(1)
                    return

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        wait_until(lambda begun=begun: len(begun) > 100)
        model.close()
        for thread in threads:
            thread.join(SOON)
        assert len(ended) == 4


def test_the_gil_is_released_during_a_call(load: Load) -> None:
    """Another thread makes progress while one call runs, whatever the switch interval."""
    signature = load("nested_loops").signatures["serving_default"]
    del signature
    done = run_python(
        """
import sys, threading, time
import numpy as np, savedmodel
sys.setswitchinterval(10_000)  # no thread gives the GIL up unless it is made to
model = savedmodel.load(sys.argv[1])
signature = model.signatures["serve"]
image = np.zeros((4000, 8, 8, 1), np.float32)
signature(image)
progress = 0
stop = False
def count():
    global progress
    while not stop:
        progress += 1
        threading.Event().wait(0.0001)
thread = threading.Thread(target=count)
thread.start()
end = time.monotonic() + float(sys.argv[2])
before = progress
moved = 0
while moved == 0 and time.monotonic() < end:
    signature(image)
    moved = progress - before
stop = True
thread.join()
assert moved > 0
""",
        str(DIGITS),
        str(SOON / 2),
    )
    assert done.returncode == 0, done.stderr


def test_inputs_are_released_where_the_gil_is(digits: savedmodel.Model) -> None:
    """Objects with a Python destructor, fed from many threads: none is freed without the GIL."""
    signature = digits.signatures["serve"]
    freed: list[int] = []

    class Owner(np.ndarray):  # type: ignore[type-arg]
        def __del__(self) -> None:
            freed.append(threading.get_ident())

    def work(_: int) -> None:
        for _ in range(100):
            signature(savedmodel.aligned_empty((1, 8, 8, 1)).view(Owner))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))

    def all_freed() -> bool:
        signature(image_of(0))  # what a thread of TensorFlow let go of goes with the next call
        return len(freed) >= 400

    wait_until(all_freed)


@pytest.mark.parametrize("ending", ["return", "exit", "exception"])
def test_the_interpreter_ends_with_models_and_daemon_threads_at_work(ending: str) -> None:
    done = run_python(
        """
import sys, threading
import numpy as np, savedmodel
model = savedmodel.load(sys.argv[1])
signature = model.signatures["serve"]
bound = signature.bind(savedmodel.aligned_empty((1, 8, 8, 1)))
kept = signature(np.zeros((1, 8, 8, 1), np.float32))
calls = threading.Semaphore(0)
def work():
    image = savedmodel.aligned_empty((64, 8, 8, 1))
    while True:
        signature(image)
        bound()
        calls.release()
for _ in range(4):
    threading.Thread(target=work, daemon=True).start()
for _ in range(100):
    calls.acquire()
print("end", flush=True)
if sys.argv[2] == "exit": sys.exit(0)
if sys.argv[2] == "exception": raise KeyboardInterrupt
""",
        str(DIGITS),
        ending,
    )
    assert done.stdout == "end\n"
    assert done.returncode == (-2 if ending == "exception" else 0), done.stderr
    assert "terminate" not in done.stderr
    assert "Fatal" not in done.stderr


FORK = """
import os, sys, signal
import numpy as np, savedmodel
model = savedmodel.load(sys.argv[1])
signature = model.signatures["serve"]
image = np.zeros((1, 8, 8, 1), np.float32)
bound = signature.bind(savedmodel.aligned_empty((1, 8, 8, 1)))
result = signature(image)
child = os.fork()
if child == 0:
    signal.alarm(200)
    refused = 0
    for use in (lambda: signature(image), bound, lambda: savedmodel.load(sys.argv[1]),
                lambda: model.devices, lambda: model.run("x")):
        try:
            use()
        except savedmodel.FailedPreconditionError as error:
            assert "fork" in str(error) and "spawn" in str(error), error
            refused += 1
    assert refused == 5
    assert result["probabilities"].shape == (1, 10)
    model.close()
    del model, signature, bound
    sys.exit(0)
_, status = os.waitpid(child, 0)
assert status == 0, status
assert signature(image)["probabilities"].shape == (1, 10)
"""


def test_a_model_that_was_loaded_before_a_fork_raises() -> None:
    done = run_python(FORK, str(DIGITS))
    assert done.returncode == 0, done.stderr


def test_a_child_may_load_what_its_parent_did_not() -> None:
    """Importing, reading options and forking before the first load leaves the child free."""
    done = run_python(
        """
import os, sys, signal
import numpy as np, savedmodel
savedmodel.SessionOptions(allow_soft_placement=True)
children = []
for _ in range(2):
    child = os.fork()
    if child == 0:
        signal.alarm(200)
        with savedmodel.load(sys.argv[1]) as model:
            model.signatures["serve"](np.zeros((1, 8, 8, 1), np.float32))
        sys.exit(0)
    children.append(child)
assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
""",
        str(DIGITS),
    )
    assert done.returncode == 0, done.stderr


def test_a_call_on_the_callers_thread_flushes_denormals_as_tensorflow_does(load: Load) -> None:
    """A plain call starts on the caller's thread; TensorFlow's pools flush, Python does not."""
    signature = load("dtype_compute").signatures["float32"]
    tiny = np.full(1, 1e-40, np.float32)
    deadline = savedmodel.RunOptions(timeout_in_ms=60_000)  # keeps to TensorFlow's own pool
    plain = signature.run({"x": tiny})
    pooled = signature.run({"x": tiny}, run_options=deadline)
    for name, value in pooled.items():
        assert plain[name].tobytes() == value.tobytes()
    assert tiny * np.float32(1) != 0, "the caller's own arithmetic is as before"


@pytest.mark.parametrize("where", ["load", "call"])
def test_deadline(models: Path, where: str) -> None:
    """A loop of hours ends by its deadline, and the model goes on."""
    done = run_python(
        """
import sys, numpy as np, savedmodel
options = savedmodel.RunOptions(timeout_in_ms=500)
model = savedmodel.load(sys.argv[1], run_options=options if sys.argv[2] == "load" else None)
signature = model.signatures["serving_default"]
try:
    signature.run({"n": 2**31 - 1}, run_options=options if sys.argv[2] == "call" else None)
except savedmodel.DeadlineExceededError as error:
    assert isinstance(error, TimeoutError)
    # What ends in time on any machine.
    plenty = savedmodel.RunOptions(timeout_in_ms=100_000)
    print(signature.run({"n": 10}, run_options=plenty)["y"])
""",
        str(models / "while_loop" / "saved_model"),
        where,
    )
    assert done.stdout == "55\n", done.stderr
