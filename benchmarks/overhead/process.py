"""What it costs a process to have the package: import time and memory, in fresh processes."""

from __future__ import annotations

import json
from collections.abc import Callable

from benchmarks import fresh_process
from benchmarks.native import ROOT
from benchmarks.report import Row, median_row, ratios

DIGITS = ROOT / "python" / "savedmodel" / "data" / "digits"
IMPORT_LIMIT_MS = 50
MEMORY_LIMIT = 0.65

_IMPORT = "savedmodel"
_USE = "savedmodel, then savedmodel.load"
# Statements, each timed in a fresh process.
_STATEMENTS = {
    "numpy": "import numpy",
    _IMPORT: "import savedmodel",
    _USE: "import savedmodel; savedmodel.load",
    "tensorflow": "import tensorflow",
}
_RARE = "tensorflow"  # takes seconds

Progress = Callable[[str], None]


def measure_imports(rounds: int, progress: Progress) -> list[Row]:
    """Wall time of import statements, by a clock inside the process that runs them."""
    times: dict[str, list[float]] = {name: [] for name in _STATEMENTS}
    for turn in range(-1, rounds):  # the first fills the page cache
        progress(f"imports: round {turn + 1} of {rounds}")
        for name, statement in _STATEMENTS.items():
            if name == _RARE and turn >= max(1, rounds // 5):
                continue
            code = (
                f"import time; start = time.perf_counter(); {statement}; "
                "print((time.perf_counter() - start) * 1e3)"
            )
            elapsed = float(fresh_process.run_python(["-c", code]))
            if turn >= 0:
                times[name].append(elapsed)
    section = "Import, in a fresh process"
    more = [ours - numpy for ours, numpy in zip(times[_IMPORT], times["numpy"], strict=True)]
    return [
        *(median_row(section, f"import {name}", times[name], "ms") for name in times),
        median_row(section, "import savedmodel - import numpy", more, "ms", IMPORT_LIMIT_MS),
    ]


def measure_memory(rounds: int, progress: Progress) -> list[Row]:
    """Resident memory of a process that loaded the digit model and called it ten times."""
    found: dict[tuple[str, str], list[float]] = {}
    for turn in range(rounds):
        progress(f"memory: round {turn + 1} of {rounds}")
        for runtime in ("savedmodel", "tensorflow"):
            command = ["-m", "benchmarks.overhead.digits_memory", runtime, DIGITS]
            sizes = json.loads(fresh_process.run_python(command))
            for kind, size in sizes.items():
                found.setdefault((kind, runtime), []).append(size / 1e6)
    section = "Memory of a process after loading the digit model and ten calls"
    rows = []
    for kind in ("VmRSS", "Pss"):
        if (kind, "savedmodel") not in found:
            continue
        ours, theirs = found[kind, "savedmodel"], found[kind, "tensorflow"]
        name = {"VmRSS": "resident (VmRSS)", "Pss": "proportional (PSS)"}[kind]
        rows += [
            median_row(section, f"{name}, savedmodel", ours, "MB"),
            median_row(section, f"{name}, TensorFlow's Python", theirs, "MB"),
            median_row(
                section,
                f"{name}, savedmodel / TensorFlow's Python",
                ratios(ours, theirs),
                "ratio",
                MEMORY_LIMIT,
            ),
        ]
    return rows
