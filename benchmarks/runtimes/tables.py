"""What a run found, as tables: a row for each runtime, a column for each model."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence

from benchmarks.report import Grid
from benchmarks.runtimes.limits import TOLERANCE, p50, tensorflow
from benchmarks.runtimes.measure import STARTED_MODELS, Found, case_name
from benchmarks.runtimes.models import MODELS
from benchmarks.runtimes.runtimes import RUNTIMES

CORNER = "runtime"
MISSING = "-"
WRONG = " *"  # after the figures of answers that differ by more than TOLERANCE


def grids(found: Found, batches: Sequence[int], callers: Sequence[int]) -> list[Grid]:
    """All tables that have figures."""
    alone = case_name(1, 1)
    tables = [
        _calls(found, "Time of a call (p50), batch 1", alone, "p50", "us"),
        _relative(found),
        _calls(found, "Time of a call (p99), batch 1", alone, "p99", "us"),
    ]
    for batch in batches:
        if batch > 1:
            title = f"Time of a call (p50), batch {batch}"
            tables.append(_calls(found, title, case_name(batch, 1), "p50", "us"))
    for count in callers:
        title = f"Throughput, batch 1, {count} caller{'s' if count > 1 else ''}"
        tables.append(_calls(found, title, case_name(1, count), "rate", "calls/s"))
    most = max(callers, default=1)
    if most > 1:
        title = f"Time of a call (p99), batch 1, {most} callers"
        tables.append(_calls(found, title, case_name(1, most), "p99", "us"))
    tables += [
        _starts(found, "Process start to first answer", "process", 1, "s", ".2f"),
        _starts(found, "Resident memory after the first answer", "VmRSS", 1e-6, "MB", ",.0f"),
        *(_phases(found, model) for model in STARTED_MODELS),
        _grid(
            found,
            "Largest difference to TensorFlow's answers, of the output's scale",
            lambda model, runtime: _optional(found.differences.get(model, {}).get(runtime), ".0e"),
        ),
        _texts("What there is no figure of, and why", found.failures),
        _texts("How the runtimes say they run it", found.about),
    ]
    return [table for table in tables if table.cells]


def _grid(found: Found, title: str, cell: Callable[[str, str], str]) -> Grid:
    """Without the rows and columns that have no figure."""
    models = [model for model in MODELS if model in found.calls or model in found.starts]
    rows = {runtime: [cell(model, runtime) for model in models] for runtime in RUNTIMES}
    rows = {name: cells for name, cells in rows.items() if set(cells) != {MISSING}}
    kept = [i for i in range(len(models)) if any(cells[i] != MISSING for cells in rows.values())]
    headings = [models[i] for i in kept]
    lines = [[name, *(cells[i] for i in kept)] for name, cells in rows.items()]
    return Grid(title, [CORNER, *headings], headings, lines)


def _texts(title: str, by_model: Mapping[str, Mapping[str, str]]) -> Grid:
    lines = [
        (runtime, model, by_model[model][runtime].replace("|", "/"))
        for runtime in RUNTIMES
        for model in MODELS
        if runtime in by_model.get(model, {})
    ]
    return Grid(title, (CORNER, "model", ""), (), lines)


def _optional(figure: float | None, form: str) -> str:
    return MISSING if figure is None else f"{figure:{form}}"


def _calls(found: Found, title: str, case: str, key: str, unit: str) -> Grid:
    def cell(model: str, runtime: str) -> str:
        rounds = found.calls.get(model, {}).get(runtime, {}).get(case, [])
        if not rounds:
            return MISSING
        figure = statistics.median(told[key] for told in rounds)
        wrong = found.differences.get(model, {}).get(runtime, 0.0) > TOLERANCE
        return f"{figure:{',.1f' if figure < 100 else ',.0f'}}{WRONG if wrong else ''}"

    return _grid(found, f"{title}, {unit}", cell)


def _relative(found: Found) -> Grid:
    def cell(model: str, runtime: str) -> str:
        ours, theirs = p50(found, model, runtime), p50(found, model, tensorflow(found, model))
        if not ours or not theirs:
            return MISSING
        return f"{statistics.median(ours) / statistics.median(theirs):.3f}"

    title = "Time of a call (p50), batch 1, as a share of TensorFlow's signature's"
    return _grid(found, f"{title}; of the TF1 callable's where that does not load", cell)


def _starts(found: Found, title: str, key: str, scale: float, unit: str, form: str) -> Grid:
    def cell(model: str, runtime: str) -> str:
        told = found.starts.get(model, {}).get(runtime)
        if not told:
            return MISSING
        return f"{statistics.median(one[key] for one in told) * scale:{form}}"

    return _grid(found, f"{title}, {unit}", cell)


def _phases(found: Found, model: str) -> Grid:
    """The parts of a start, which begins with Python itself."""
    starts = found.starts.get(model, {})
    headings = ["import", "load", "first call"]
    lines = [
        [
            runtime,
            *(
                f"{statistics.median(told[key] for told in starts[runtime]):.3f}"
                for key in ("import", "load", "call")
            ),
        ]
        for runtime in RUNTIMES
        if runtime in starts
    ]
    return Grid(f"Parts of that start: {model}, s", [CORNER, *headings], headings, lines)
