"""Runs every contender in processes of its own, in turn, and makes rows of what they tell."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import fresh_process, native
from benchmarks.fresh_process import KERAS_MODELS, Progress, fill_page_cache, turns
from benchmarks.report import Row, median_row, ratios

MODELS = ("MobileNet", "ResNet50", "EfficientNetB0")
INPUT_SHAPE = (1, 224, 224, 3)
THREADS = 2

TENSORFLOW, PLAIN, OURS = "TensorFlow's Python", "plain C++", "savedmodel"

# Limits on our figure as a share of another contender's.
TIME_LIMIT = {PLAIN: 0.5}
MEMORY_LIMIT = {TENSORFLOW: 0.6}
INSPECT_LIMIT = 1 / 20

Command = list[str | Path]
# Contender -> what it told (see worker.py) in each round.
Told = dict[str, list[dict[str, Any]]]


def measure_models(models: Sequence[str], rounds: int, progress: Progress) -> list[Row]:
    """All rows of these models."""
    progress("building")
    worker = [sys.executable, "-m", "benchmarks.load.worker"]
    contenders: dict[str, Command] = {
        TENSORFLOW: [*worker, "tensorflow"],
        PLAIN: [native.build("plain_loader", "plain_loader"), native.cc_library()],
        OURS: [*worker, "savedmodel"],
    }
    folder = KERAS_MODELS
    source = folder / "input"
    np.random.default_rng(0).uniform(0, 1, INPUT_SHAPE).astype(np.float32).tofile(source)

    found: dict[str, Told] = {model: {name: [] for name in contenders} for model in models}
    for turn, shuffled in turns(rounds):
        for model in shuffled(models):
            fill_page_cache(folder / model)
            for name in shuffled(list(contenders)):
                progress(f"round {turn} of {rounds}: {model}, {name}")
                told = _first_answer(contenders[name], folder / model, source)
                if turn > 0:
                    found[model][name].append(told)
    return [row for model in models for row in _rows(folder, model, found[model])]


def _first_answer(contender: Command, model: Path, source: Path) -> dict[str, Any]:
    destination = source.with_name("output")
    arguments = (model, source, destination, THREADS, *INPUT_SHAPE)
    start = time.monotonic()
    printed = fresh_process.run([*contender, *map(str, arguments)])
    told: dict[str, Any] = json.loads(printed.splitlines()[-1])
    told["process"] = told["answered"] - start
    told["output"] = np.fromfile(destination, np.float32)
    return told


def _rows(folder: Path, model: str, told: Told) -> list[Row]:
    def figures(*names: str, scale: float = 1) -> dict[str, list[float]]:
        return {
            contender: [sum(one[name] for name in names) * scale for one in rounds]
            for contender, rounds in told.items()
        }

    ours = told[OURS]
    weights = json.loads((folder / f"{model}.json").read_text())["weight_bytes"]
    rows = [
        Row(model, "weights", weights / 1e6, "MB"),
        Row(model, "variables/ on disk", _size(folder / model / "variables") / 1e6, "MB"),
        *_compare(model, "process start to first answer", "s", figures("process")),
        *_compare(model, "load + first call", "s", figures("load", "call"), TIME_LIMIT),
        *_compare(
            model,
            "library + load + first call",
            "s",
            figures("library", "load", "call"),
            TIME_LIMIT,
        ),
        *_compare(model, "load", "s", figures("load")),
        *_compare(model, "first call", "s", figures("call")),
        *_compare(model, "resident (VmRSS)", "MB", figures("VmRSS", scale=1e-6), MEMORY_LIMIT),
        *_compare(model, "peak (VmHWM)", "MB", figures("VmHWM", scale=1e-6)),
    ]
    for phase in ours[0]["phases"]:
        seconds, read = zip(*(one["phases"][phase] for one in ours), strict=True)
        rows.append(median_row(model, f"load_report: {phase}", seconds, "s"))
        if any(read):
            megabytes = [size / 1e6 for size in read]
            rows.append(median_row(model, f"load_report: {phase}, read", megabytes, "MB"))
    saved = ours[0]["bytes_saved"]  # the same in each round
    if saved is not None:
        rows.append(Row(model, "load_report: bytes saved", saved / 1e6, "MB"))
    for one, other in ((OURS, PLAIN), (OURS, TENSORFLOW), (PLAIN, TENSORFLOW)):
        worst = max(map(_difference, told[one], told[other]))
        rows.append(Row(model, f"answers: {one} - {other}, largest", worst, "of its scale"))
    return rows


def _compare(
    section: str,
    what: str,
    unit: str,
    figures: Mapping[str, list[float]],
    limits: Mapping[str, float] | None = None,
) -> list[Row]:
    """Rows of each contender, and of our share of the others'."""
    ours = figures[OURS]
    return [
        *(median_row(section, f"{what}: {name}", of, unit) for name, of in figures.items()),
        *(
            median_row(
                section,
                f"{what}: {OURS} / {name}",
                ratios(ours, of),
                "ratio",
                (limits or {}).get(name),
            )
            for name, of in figures.items()
            if name != OURS
        ),
    ]


def _difference(one: dict[str, Any], other: dict[str, Any]) -> float:
    """The largest of the outputs', as a share of the largest element."""
    difference = np.abs(one["output"] - other["output"]).max()
    return float(difference / np.abs(other["output"]).max())


def measure_inspection(models: Sequence[str], rounds: int, progress: Progress) -> list[Row]:
    """What it takes to print all that there is to know about the largest of the models."""
    model = max(models, key=lambda name: _size(KERAS_MODELS / name))
    path = str(KERAS_MODELS / model)
    show = native.installed_command("saved_model_cli")
    ours, theirs = "savedmodel.inspect", "saved_model_cli show --all"
    inspect = f"import savedmodel; print(savedmodel.inspect({path!r}))"
    commands: dict[str, Command] = {
        ours: [sys.executable, "-c", inspect],
        theirs: [show, "show", "--all", "--dir", path],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for turn, shuffled in turns(rounds):
        for name in shuffled(list(commands)):
            progress(f"round {turn} of {rounds}: {model}, {name}")
            start = time.monotonic()
            fresh_process.run(commands[name])
            if turn > 0:
                times[name].append(time.monotonic() - start)
    section = f"Inspection of {model}, from process start to end"
    shares = ratios(times[ours], times[theirs])
    return [
        *(median_row(section, name, times[name], "s") for name in commands),
        median_row(section, f"{ours} / {theirs}", shares, "ratio", INSPECT_LIMIT),
    ]


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
