"""Runs both programs in turn, and makes rows of the time each took."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks import native
from benchmarks.fresh_process import KERAS_MODELS, Progress, fill_page_cache, run, turns
from benchmarks.report import Row, median_row, ratios

MODEL = "MobileNet"
INPUT_SHAPE = (1, 224, 224, 3)

OURS, THEIRS = "savedmodel", "saved_model_cli"

# The verbs with a limit on our share of the other program's time.
SHOW_ALL, RUN = "show --all", "run"
LIMITS = {SHOW_ALL: 1 / 20, RUN: 1 / 6}


def measure(rounds: int, progress: Progress) -> list[Row]:
    """All rows."""
    with tempfile.TemporaryDirectory() as folder:
        return _measure(Path(folder), rounds, progress)


def _measure(folder: Path, rounds: int, progress: Progress) -> list[Row]:
    model = KERAS_MODELS / MODEL
    programs = {name: native.installed_command(name) for name in (OURS, THEIRS)}
    verbs = _verbs(model, folder)
    times: dict[tuple[str, str], list[float]] = {
        (verb, program): [] for verb in verbs for program in programs
    }
    for turn, shuffled in turns(rounds):
        fill_page_cache(model)
        for verb in shuffled(list(verbs)):
            for program in shuffled(list(programs)):
                progress(f"round {turn} of {rounds}: {program} {verb}")
                arguments = [argument.format(outdir=folder / program) for argument in verbs[verb]]
                start = time.monotonic()
                run([programs[program], *arguments])
                if turn > 0:
                    times[verb, program].append(time.monotonic() - start)
    rows = []
    for verb in verbs:
        ours, theirs = times[verb, OURS], times[verb, THEIRS]
        rows += [
            median_row(verb, OURS, ours, "s"),
            median_row(verb, THEIRS, theirs, "s"),
            median_row(verb, f"{OURS} / {THEIRS}", ratios(ours, theirs), "ratio", LIMITS.get(verb)),
        ]
    difference = _difference(folder / OURS, folder / THEIRS)
    rows.append(Row(RUN, "saved outputs, largest difference", difference, "of its scale"))
    return rows


def _verbs(model: Path, folder: Path) -> dict[str, Sequence[str]]:
    """The arguments of each verb; "{outdir}" stands for a folder of the program's own."""
    image = np.random.default_rng(0).uniform(0, 1, INPUT_SHAPE).astype(np.float32)
    np.save(folder / "image.npy", image)
    directory = ("--dir", str(model))
    signature = ("--tag_set", "serve", "--signature_def", "serving_default")
    key = "keras_tensor"
    return {
        "show": ("show", *directory),
        SHOW_ALL: ("show", *directory, "--all"),
        "scan": ("scan", *directory),
        RUN: (
            *("run", *directory, *signature, "--inputs", f"{key}={folder / 'image.npy'}"),
            *("--outdir", "{outdir}", "--overwrite"),
        ),
    }


def _difference(ours: Path, theirs: Path) -> float:
    """The largest of the saved outputs', as a share of the largest element."""
    names = sorted(file.name for file in theirs.iterdir())
    assert names == sorted(file.name for file in ours.iterdir())
    pairs = [(np.load(ours / name), np.load(theirs / name)) for name in names]
    return max(float(np.abs(one - other).max() / np.abs(other).max()) for one, other in pairs)
