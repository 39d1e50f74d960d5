"""What a call costs: its time beside bare C++ and TensorFlow's own Python, and its copies."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np

import savedmodel
from benchmarks import fresh_process
from benchmarks.overhead.bare import BareCallable, Floats
from benchmarks.report import Row, median_row, ratios

DIFFERENCE_LIMIT_US = 1.5
TENSORFLOW_LIMIT = 0.1

# Run options -> the number of RunOptions.inter_op_thread_pool; -1 is the caller's own thread.
_POOL_NUMBERS = {"default options": 0, "inter_op_thread_pool=-1": -1}

Progress = Callable[[str], None]
# Nanoseconds of that many calls.
Contender = Callable[[int], int]
# (contender, run options) -> microseconds of a call, for each round.
Times = dict[tuple[str, str], list[float]]


class TensorFlowWorker:
    """TensorFlow's own Python, in its process (tensorflow_worker.py)."""

    def __init__(self, model: Path, array: Floats) -> None:
        """Load the model there. `array`: what to feed."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "input.npy")
            np.save(file, array)
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    str(Path(__file__).with_name("tensorflow_worker.py")),
                    str(model),
                    str(file),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            self.output: list[float] = self._answer()

    def run(self, what: str, calls: int) -> int:
        """The nanoseconds that so many calls took together: `what` is "tensor" or "numpy"."""
        assert self._process.stdin is not None
        print(json.dumps([what, calls]), file=self._process.stdin, flush=True)
        return int(self._answer())

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("TensorFlow's process ended early")
        return json.loads(line)

    def close(self) -> None:
        """End the process, which ends when its input does."""
        self._process.communicate()


class _Runtime:
    """One SavedModel with one set of run options, in savedmodel and in bare C++."""

    def __init__(self, library: Path, path: Path, array: Floats, options: str) -> None:
        number = _POOL_NUMBERS[options]
        self.options = options
        self.model = savedmodel.load(
            path, run_options=savedmodel.RunOptions(inter_op_thread_pool=number)
        )
        self.bare = BareCallable(library, path, number)
        self.bare.feed(array)
        self.array = array
        self.signature = self.model.signatures["serving_default"]
        self.bound = self.signature.bind(x=array)
        self.bare.run(1)
        output: Floats = self.signature(x=array)["y"]
        (expected,) = self.bare.outputs()
        np.testing.assert_array_equal(output.ravel(), expected)

    def contenders(self) -> dict[tuple[str, str], Contender]:
        return {
            ("bare", self.options): self.bare.run,
            ("signature", self.options): self.time_signature,
            ("bound", self.options): self.time_bound,
        }

    def time_signature(self, calls: int) -> int:
        signature, array = self.signature, self.array
        start = time.perf_counter_ns()
        for _ in repeat(None, calls):
            signature(x=array)
        return time.perf_counter_ns() - start

    def time_bound(self, calls: int) -> int:
        bound = self.bound
        start = time.perf_counter_ns()
        for _ in repeat(None, calls):
            bound()
        return time.perf_counter_ns() - start

    def close(self) -> None:
        self.model.close()
        self.bare.close()


def aligned(shape: tuple[int, ...]) -> Floats:
    """An aligned array of some numbers."""
    array: Floats = savedmodel.aligned_empty(shape, np.float32)
    array[...] = np.random.default_rng(0).standard_normal(shape)
    return array


def tensorflow_calls(calls: int) -> int:
    """So many of TensorFlow's calls take about as long as `calls` of ours."""
    return max(1, calls // 10)


@dataclass(frozen=True)
class Subject:
    """A model of one input `x` and one output `y`."""

    name: str
    folder: str
    shape: tuple[int, ...]
    # The limit on our time as a share of TensorFlow's Python's; None where the model's own work,
    # which is the same for both, is a large part of either.
    tensorflow_limit: float | None


SUBJECTS = (
    Subject("scalar multiply", "scalar_multiply", (1,), TENSORFLOW_LIMIT),
    Subject("MLP 64-128-128-10, batch 1", "mlp", (1, 64), None),
)


def measure_calls(
    library: Path, models: Path, subject: Subject, rounds: int, calls: int, progress: Progress
) -> tuple[list[Row], Row]:
    """Rows of times, and the row of what was copied meanwhile."""
    path, array = models / subject.folder, aligned(subject.shape)
    runtimes = [_Runtime(library, path, array, options) for options in _POOL_NUMBERS]
    with closing(TensorFlowWorker(path, array)) as worker:
        np.testing.assert_allclose(
            runtimes[0].signature(x=array)["y"].ravel(), worker.output, rtol=1e-4, atol=1e-4
        )
        # What is compared most closely is measured close together.
        groups: list[dict[tuple[str, str], Contender]] = [
            runtime.contenders() for runtime in runtimes
        ]
        groups.append(
            {
                ("tensor", ""): lambda calls: worker.run("tensor", tensorflow_calls(calls)),
                ("numpy", ""): lambda calls: worker.run("numpy", tensorflow_calls(calls)),
            }
        )
        for group in groups:
            for contender in group.values():
                contender(calls)

        before = savedmodel.copy_stats()
        times: Times = {key: [] for group in groups for key in group}
        # Another order each time, so that nobody always comes after the same one.
        generator = random.Random(0)
        for turn in range(rounds):
            if turn % 10 == 0:
                progress(f"{subject.name}: round {turn + 1} of {rounds}")
            for group in generator.sample(groups, len(groups)):
                for key in generator.sample(list(group), len(group)):
                    made = calls if key[1] else tensorflow_calls(calls)
                    times[key].append(group[key](calls) / made / 1e3)
        after = savedmodel.copy_stats()
    for runtime in runtimes:
        runtime.close()

    rows = []
    for options in _POOL_NUMBERS:
        rows += _call_rows(subject, options, times)
    copied = Row(
        "Copies",
        f"{subject.name}: bytes copied in {4 * rounds * calls:,} calls, in and out",
        after.bytes - before.bytes,
        "bytes",
        limit=0,
    )
    return rows, copied


def _call_rows(subject: Subject, options: str, times: Times) -> list[Row]:
    section = f"Time of a call: {subject.name}, {options}"
    bare = times["bare", options]
    tensor, from_numpy = times["tensor", ""], times["numpy", ""]

    def median(
        what: str, rounds: Sequence[float], unit: str = "us", limit: float | None = None
    ) -> None:
        rows.append(median_row(section, what, rounds, unit, limit))

    rows: list[Row] = []
    median("bare C++", bare)
    median("TensorFlow's Python, tensor to tensor", tensor)
    median("TensorFlow's Python, array to array", from_numpy)
    median("bare C++ / TensorFlow's, tensor to tensor", ratios(bare, tensor), "ratio")
    for kind, label in (("signature", "signature(x=array)"), ("bound", "bound()")):
        ours = times[kind, options]
        limit = subject.tensorflow_limit
        median(label, ours)
        median(f"{label} - bare C++", _differences(ours, bare), limit=DIFFERENCE_LIMIT_US)
        median(f"{label} / bare C++", ratios(ours, bare), "ratio")
        median(f"{label} / TensorFlow's, tensor to tensor", ratios(ours, tensor), "ratio", limit)
        median(f"{label} / TensorFlow's, array to array", ratios(ours, from_numpy), "ratio", limit)
    return rows


def _differences(ours: list[float], theirs: list[float]) -> list[float]:
    return [our - their for our, their in zip(ours, theirs, strict=True)]


def measure_copies(pass_through: Path, multiply: Path, calls: int) -> list[Row]:
    """Whose memory the outputs are, found by their addresses."""
    with savedmodel.load(pass_through) as model:
        array = aligned((1024,))
        signature = model.signatures["serving_default"]
        before = savedmodel.copy_stats()
        elsewhere = sum(_address(signature(x=array)["y"]) != _address(array) for _ in range(calls))
        copied = savedmodel.copy_stats().bytes - before.bytes
    with savedmodel.load(multiply) as model:
        signature = model.signatures["serving_default"]
        array = aligned((1,))
        own = sum(bool(signature(x=array)["y"].flags.owndata) for _ in range(calls))
    return [
        Row(
            "Copies",
            f"pass-through: outputs at another address than the input, of {calls:,}",
            elsewhere,
            "calls",
            limit=0,
        ),
        Row("Copies", f"pass-through: bytes copied in {calls:,} calls", copied, "bytes", limit=0),
        Row(
            "Copies",
            f"scalar multiply: outputs not in TensorFlow's own memory, of {calls:,}",
            own,
            "calls",
            limit=0,
        ),
    ]


def _address(array: Floats) -> int:
    return int(array.__array_interface__["data"][0])


def assert_no_tensorflow() -> None:
    """The figures are worth nothing if TensorFlow's Python ran beside them in this process."""
    assert "tensorflow" not in sys.modules


def make_models(folder: Path) -> None:
    """Run models.py in a process of its own, unless it has run before."""
    fresh_process.make_once(Path(__file__).with_name("models.py"), folder / "complete", [folder])
