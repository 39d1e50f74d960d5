"""Runs every runtime on every model, in turn, and keeps what each told."""

from __future__ import annotations

import itertools
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.fresh_process import Progress, fill_page_cache, turns
from benchmarks.native import ROOT
from benchmarks.runtimes.convert import NoConversionError, reason
from benchmarks.runtimes.files import Array
from benchmarks.runtimes.models import MODELS, Model, export_dir
from benchmarks.runtimes.runtimes import RUNTIMES, TF1_SESSION, TF2

# Their starts are repeated in fresh processes; of the others, that of the calls is all there is.
STARTED_MODELS = ("MobileNet", "ResNet50")

Told = dict[str, Any]


@dataclass
class Plan:
    """What to measure."""

    models: Sequence[str]
    runtimes: Sequence[str]
    rounds: int  # of calls; every other one only of those with one row and one caller
    starts: int  # of fresh processes for each of STARTED_MODELS
    seconds: float  # of each measurement of calls
    batches: Sequence[int]
    callers: Sequence[int]

    def cases(self, model: str, runtime: str) -> list[tuple[int, int]]:
        """The batch and the number of callers of each measurement of calls; may be none."""
        if not RUNTIMES[runtime].calls or (RUNTIMES[runtime].small and MODELS[model].threads > 1):
            return []
        batches = [batch for batch in self.batches if batch in MODELS[model].batches]
        if not RUNTIMES[runtime].batches:
            batches = [batch for batch in batches if batch == 1]
        cases = [(batch, 1) for batch in batches]
        if 1 in batches:
            cases += [(1, callers) for callers in self.callers if callers > 1]
        return cases


@dataclass
class Found:
    """What one run found. Everything is by model and then by runtime."""

    # Seconds and bytes of each start: "process" (start of the process to first answer), "import",
    # "load", "call", "VmRSS", "VmHWM".
    starts: dict[str, dict[str, list[dict[str, float]]]] = field(default_factory=dict)
    # By case ("batch 1", "8 callers"), of each round: "p50" and "p99" in microseconds, "rate" in
    # calls a second.
    calls: dict[str, dict[str, dict[str, list[dict[str, float]]]]] = field(default_factory=dict)
    # The largest difference of an element to TensorFlow's, as a share of the largest element.
    differences: dict[str, dict[str, float]] = field(default_factory=dict)
    # Why there is no figure, or not all of them.
    failures: dict[str, dict[str, str]] = field(default_factory=dict)
    # What the runtime says of how it runs the model.
    about: dict[str, dict[str, str]] = field(default_factory=dict)

    def json(self) -> dict[str, Any]:
        return asdict(self)

    def start(self, model: str, runtime: str, told: Told) -> None:
        """Keep what a worker told when it started."""
        kept = {key: told[key] for key in ("process", "import", "load", "call")} | told["memory"]
        self.starts.setdefault(model, {}).setdefault(runtime, []).append(kept)
        if told["about"]:
            self.about.setdefault(model, {})[runtime] = told["about"]

    def call(self, model: str, runtime: str, case: tuple[int, int], told: Told) -> None:
        """Keep what a worker told of a measurement."""
        by_case = self.calls.setdefault(model, {}).setdefault(runtime, {})
        by_case.setdefault(case_name(*case), []).append(told)

    def fail(self, model: str, runtime: str, why: str) -> None:
        """Keep the first reason."""
        self.failures.setdefault(model, {}).setdefault(runtime, why)


def case_name(batch: int, callers: int) -> str:
    """As `Found.calls` has it."""
    return f"batch {batch}" if callers == 1 else f"{callers} callers"


class WorkerError(RuntimeError):
    """The worker cannot do that. The message says why."""


class Worker:
    """A process of worker.py."""

    def __init__(self, runtime: str, model: str) -> None:
        """Start it, and wait for its first answer. WorkerError if no path of the model will do."""
        failures = []
        try:
            for path in RUNTIMES[runtime].paths(model):
                try:
                    self._start(runtime, path, MODELS[model])
                    return
                except WorkerError as error:
                    failures.append(str(error))
        except NoConversionError as error:
            failures.append(str(error))
        raise WorkerError(failures[0])

    def _start(self, runtime: str, path: Path, model: Model) -> None:
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._path, self._model = path, model
        arguments = (runtime, path, model.input_files[1], str(model.threads))
        start = time.monotonic()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.runtimes.worker", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            cwd=ROOT,
        )
        try:
            self.told: Told = self._answer()
        except WorkerError:
            self.close()
            raise
        self.told["process"] = self.told["answered"] - start

    def ask(self, *command: Any) -> Any:
        """What it answers; see worker.py."""
        assert self._process.stdin is not None
        try:
            print(json.dumps(command), file=self._process.stdin, flush=True)
        except BrokenPipeError:
            raise WorkerError("the process has ended") from None
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            status = self._process.wait()
            self._errors.seek(0)
            raise WorkerError(f"ends with status {status}: {reason(self._errors.read())}")
        told = json.loads(line)
        if isinstance(told, dict) and "failed" in told:
            why = told["failed"].replace(str(self._path), self._model.name)
            raise WorkerError(f"does not {told['stage']}: {reason(why)}")
        return told

    def close(self) -> None:
        """End the process, which ends when its input does."""
        if self._process.poll() is None:
            self._process.communicate()
        self._errors.close()


def measure(plan: Plan, progress: Progress) -> Found:
    """Everything."""
    found = Found()
    _measure_starts(plan, found, progress)
    for model in plan.models:
        started = model in found.starts
        with ExitStack() as stack:
            workers: dict[str, Worker] = {}
            fill_page_cache(export_dir(model))
            for runtime in plan.runtimes:
                if not plan.cases(model, runtime):
                    continue
                progress(f"{model}: starting {runtime}")
                try:
                    worker = workers[runtime] = Worker(runtime, model)
                except WorkerError as error:
                    found.fail(model, runtime, str(error))
                    continue
                stack.callback(worker.close)
                if RUNTIMES[runtime].starts and not started:
                    found.start(model, runtime, worker.told)
            _compare_answers(plan, model, workers, found, progress)
            _measure_calls(plan, model, workers, found, progress)
    return found


def _measure_starts(plan: Plan, found: Found, progress: Progress) -> None:
    models = [model for model in plan.models if model in STARTED_MODELS]
    runtimes = [runtime for runtime in plan.runtimes if RUNTIMES[runtime].starts]
    for turn, shuffled in turns(plan.starts):
        for model in shuffled(models):
            fill_page_cache(export_dir(model))
            for runtime in shuffled(runtimes):
                progress(f"start {turn} of {plan.starts}: {model}, {runtime}")
                try:
                    worker = Worker(runtime, model)
                except WorkerError as error:
                    found.fail(model, runtime, str(error))
                    continue
                worker.close()
                if turn > 0:
                    found.start(model, runtime, worker.told)


def _compare_answers(
    plan: Plan, model: str, workers: dict[str, Worker], found: Found, progress: Progress
) -> None:
    """Compare with TensorFlow's Python; a runtime that does not answer runs no more."""
    reference = next((runtime for runtime in (TF2, TF1_SESSION) if runtime in workers), None)
    order = sorted(workers, key=lambda runtime: runtime != reference)
    expected: dict[int, list[Array]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for runtime in order:
            batches = sorted({batch for batch, _ in plan.cases(model, runtime)})
            for batch in batches:
                progress(f"{model}: comparing the answers of {runtime}, batch {batch}")
                file = Path(folder, "outputs.npz")
                try:
                    source = str(MODELS[model].input_files[batch])
                    workers[runtime].ask("answer", source, str(file))
                except WorkerError as error:
                    found.fail(model, runtime, f"batch {batch}: {error}")
                    continue
                with np.load(file) as content:
                    outputs = [content[name] for name in content.files]
                if runtime == reference:
                    expected[batch] = outputs
                if batch in expected:
                    worst = found.differences.setdefault(model, {})
                    difference = _difference(outputs, expected[batch])
                    worst[runtime] = max(worst.get(runtime, 0.0), difference)


def _difference(ours: list[Array], theirs: list[Array]) -> float:
    """The largest of all elements', as a share of the largest element of their output.

    One where sizes or texts differ. C++ RunCallable gives no texts, which is no difference.
    """
    if len(ours) < len(theirs):
        theirs = [array for array in theirs if _is_number(array)]
    if [array.size for array in ours] != [array.size for array in theirs]:
        return 1.0
    return max(itertools.starmap(_difference_of_one, zip(ours, theirs, strict=True)), default=0.0)


def _difference_of_one(ours: Array, theirs: Array) -> float:
    if not _is_number(theirs):
        return float(not np.array_equal(ours, theirs))
    scale = float(np.abs(theirs).max()) or 1.0
    difference = float(np.abs(ours.ravel() - theirs.ravel()).max()) / scale
    return 1.0 if math.isnan(difference) else difference


def _is_number(array: Array) -> bool:
    return array.dtype.kind not in "SO"


def _measure_calls(
    plan: Plan, model: str, workers: dict[str, Worker], found: Found, progress: Progress
) -> None:
    cases = {runtime: plan.cases(model, runtime) for runtime in workers}
    everything = list(dict.fromkeys(itertools.chain.from_iterable(cases.values())))
    for turn, shuffled in turns(plan.rounds):
        for case in everything if turn > 0 else []:
            batch, callers = case
            if case != (1, 1) and turn % 2 == 0:
                continue  # every other round will do
            for runtime in shuffled([name for name in workers if case in cases[name]]):
                what = f"{model}, {case_name(*case)}, {runtime}"
                progress(f"round {turn} of {plan.rounds}: {what}")
                source = str(MODELS[model].input_files[batch])
                try:
                    told = workers[runtime].ask("measure", source, callers, plan.seconds)
                except WorkerError as error:
                    found.fail(model, runtime, f"{case_name(*case)}: {error}")
                    cases[runtime].remove(case)
                    continue
                found.call(model, runtime, case, told)
