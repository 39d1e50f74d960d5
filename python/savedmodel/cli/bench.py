"""`savedmodel bench`: how fast a signature answers, and what loading it costs."""

from __future__ import annotations

import argparse
import functools
import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from savedmodel.cli import calls
from savedmodel.cli.arguments import UsageError, add_verb, whole_number, writing
from savedmodel.cli.console import console, escaped, json_text
from savedmodel.cli.inputs import read_inputs

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from savedmodel import CopyStats, Model, Signature
    from savedmodel.cli.arguments import Subparsers
    from savedmodel.cli.calls import Inputs
    from savedmodel.cli.closed_loop import Samples

_MOST_THREADS = 1024
_PERCENTILES = (50, 90, 99)


def add_parser(subparsers: Subparsers) -> None:
    """Declare the verb `bench`."""
    parser = add_verb(
        subparsers,
        "bench",
        "measure throughput, latency, loading and memory",
        """
        Measure how fast a signature answers: throughput, latency percentiles, the phases of
        loading, memory and copies. Inputs that are not given are random, by the signature's
        dtypes and shapes. The load is a closed loop: each thread calls again as soon as it is
        answered.
        """,
        """
        savedmodel bench --dir MODEL
        savedmodel bench --dir MODEL --concurrency 1,2,4,8 --batch 1,16 --duration 5
        savedmodel bench --dir MODEL --shape image=-1,224,224,3 --intra_op 2
        savedmodel bench --dir MODEL --input_exprs 'x=np.ones((1, 3))'
        savedmodel bench --dir MODEL --plot latency.html       # or .png, .svg
        savedmodel bench --dir MODEL --json > figures.json     # for a program
        """,
    )
    calls.add_call_arguments(parser)
    parser.add_argument(
        "--concurrency",
        type=_whole_numbers(_MOST_THREADS),
        default=[1],
        metavar="N[,N...]",
        help="threads that call at once; several are measured one after the other (default: 1)",
    )
    parser.add_argument(
        "--batch",
        type=_whole_numbers(None),
        metavar="B[,B...]",
        help="first size of random inputs, where the signature leaves it open (default: 1)",
    )
    parser.add_argument(
        "--duration",
        type=_seconds,
        default=5.0,
        metavar="S",
        help="seconds to measure, for each batch and concurrency (default: 5)",
    )
    parser.add_argument(
        "--warmup",
        type=_seconds,
        default=1.0,
        metavar="S",
        help="seconds to call before that, unmeasured (default: 1)",
    )
    parser.add_argument(
        "--json",
        nargs="?",
        const="-",
        metavar="FILE",
        help="write all figures as JSON: to FILE, or to standard output in place of the tables",
    )
    parser.add_argument(
        "--plot",
        metavar="FILE",
        help="draw the latency distribution and, of several, throughput against concurrency: "
        ".png, .svg, or .html with the tables (needs matplotlib: pip install savedmodel[plot])",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure and report. Returns 0."""
    if args.plot is not None:
        # Before minutes of measuring.
        from savedmodel.cli import bench_plot

        bench_plot.check(args.plot)
    report, samples = _measure(args)
    # Files first: who reads the tables may have enough of them early.
    if args.plot is not None:
        with writing(args.plot):
            bench_plot.draw(args.plot, report, samples)
    if args.json not in (None, "-"):
        with writing(args.json):
            Path(args.json).write_text(json_text(report) + "\n", encoding="utf-8")
    if args.json == "-":
        print(json_text(report))
    else:
        _print(report, console())
    return 0


def _measure(args: argparse.Namespace) -> tuple[dict[str, Any], list[Samples]]:
    """Return the figures as --json has them, and the samples of each of its "results"."""
    from savedmodel.cli import system

    import_s = _seconds_of(_import)
    before_load = system.resident_bytes()
    start = time.perf_counter_ns()
    model, signature = calls.load_signature(args)
    load_s = (time.perf_counter_ns() - start) / 1e9
    after_load = system.resident_bytes()
    with model:
        inputs = _inputs(args, signature)
        first_call_s = _seconds_of(lambda: _call_once(signature, inputs[0]))
        after_first_call = system.resident_bytes()
        for batch in inputs[1:]:
            _call_once(signature, batch)
        results, samples = _run_all(args, signature, inputs)
        report = {
            "versions": system.versions(),
            "machine": system.machine(),
            "model": _model_figures(model, signature, inputs),
            "settings": {
                "loop": "closed",
                "duration_s": args.duration,
                "warmup_s": args.warmup,
                "intra_op_threads": args.intra_op,
                "inter_op_threads": args.inter_op,
            },
            "load": {
                "import_s": import_s,
                "load_s": load_s,
                "phases": {
                    name: {"s": phase.seconds, "read_bytes": phase.bytes}
                    for name, phase in model.load_report.items()
                },
                "variables_bytes": model.load_report.bytes_restored,
                "first_call_s": first_call_s,
            },
            "memory": {
                "resident_before_load_bytes": before_load,
                "resident_after_load_bytes": after_load,
                "resident_after_first_call_bytes": after_first_call,
                "resident_peak_bytes": system.peak_resident_bytes(),
            },
            "results": results,
        }
    return report, samples


def _import() -> None:
    import numpy

    import savedmodel._native

    del numpy, savedmodel


def _seconds_of(work: Callable[[], Any]) -> float:
    start = time.perf_counter_ns()
    work()
    return (time.perf_counter_ns() - start) / 1e9


def _inputs(args: argparse.Namespace, signature: Signature) -> list[Inputs]:
    """Return what is called with, for each --batch."""
    given = read_inputs(args, signature)
    told = dict(args.shape)
    if args.batch is None:
        return [calls.make_inputs(signature, given, told, None)]
    if given:
        raise UsageError(calls.BATCH_OF_GIVEN)
    every = [calls.make_inputs(signature, given, told, batch) for batch in args.batch]
    for batch, inputs in zip(args.batch, every, strict=True):
        if not any(array.shape[:1] == (batch,) for array in inputs.arrays.values()):
            shapes = ", ".join(f"'{name}' {spec.shape}" for name, spec in signature.inputs.items())
            raise UsageError(
                f"--batch {batch}: signature '{signature.name}' of model '{args.dir}' has no input "
                f"whose first size is open; it has: {shapes or 'none'}"
            )
    return every


def _call_once(signature: Signature, inputs: Inputs) -> None:
    try:
        signature(**inputs.arrays)
    except Exception as error:
        raise calls.refused(error, inputs) from error


def _run_all(
    args: argparse.Namespace, signature: Signature, every: list[Inputs]
) -> tuple[list[dict[str, Any]], list[Samples]]:
    """Measure each batch with each concurrency."""
    import savedmodel
    from savedmodel.cli import closed_loop

    results, samples = [], []
    with _progress(len(every) * len(args.concurrency), args) as show:
        for inputs in every:
            for threads in args.concurrency:
                label = f"batch {inputs.examples}, {_count(threads, 'thread')}"
                functions = [_prepare(signature, inputs) for _ in range(threads)]
                copied_before = savedmodel.copy_stats()

                def on_measure(label: str = label) -> None:
                    show(f"{label}: measuring", args.duration)

                show(f"{label}: warming up", args.warmup)
                sampled = closed_loop.run(
                    functions,
                    warmup_s=args.warmup,
                    duration_s=args.duration,
                    on_measure=on_measure,
                )
                figures = _figures(inputs, threads, sampled)
                figures["copies"] = _copies(
                    copied_before, savedmodel.copy_stats(), sampled.all_calls
                )
                results.append(figures)
                samples.append(sampled)
    return results, samples


def _prepare(signature: Signature, inputs: Inputs) -> Callable[[], Any]:
    """Return the call with arrays of its own, checked once where nothing has to be copied."""
    import savedmodel

    arrays = calls.copied(inputs)
    try:
        return signature.bind(**arrays)
    except (savedmodel.SavedModelError, ValueError):
        return functools.partial(signature, **arrays)  # Strings, for one, are always copied.


def _figures(inputs: Inputs, threads: int, samples: Samples) -> dict[str, Any]:
    latencies = samples.latencies_ns
    count = len(latencies)
    per_s = count / samples.elapsed_ns * 1e9
    latency_us = {
        "min": int(latencies[0]) / 1e3,
        "mean": float(latencies.mean()) / 1e3,
        **{f"p{percent}": samples.percentile_ns(percent) / 1e3 for percent in _PERCENTILES},
        "max": int(latencies[-1]) / 1e3,
    }
    return {
        "batch": inputs.examples,
        "concurrency": threads,
        "calls": count,
        "examples": count * inputs.examples,
        "elapsed_s": samples.elapsed_ns / 1e9,
        "calls_per_s": per_s,
        "examples_per_s": per_s * inputs.examples,
        "latency_us": latency_us,
    }


def _copies(before: CopyStats, after: CopyStats, calls_made: int) -> dict[str, Any]:
    """Return what was copied, in how many calls: those of the warm-up are among them."""
    by_reason = {}
    for reason, (count, size) in after.by_reason.items():
        count_before, size_before = before.by_reason.get(reason, (0, 0))
        if count > count_before:
            by_reason[reason] = {"count": count - count_before, "bytes": size - size_before}
    return {
        "calls": calls_made,
        "count": sum(each["count"] for each in by_reason.values()),
        "bytes": sum(each["bytes"] for each in by_reason.values()),
        "by_reason": by_reason,
    }


def _model_figures(model: Model, signature: Signature, every: list[Inputs]) -> dict[str, Any]:
    first = every[0]
    return {
        "path": model.path,
        "tags": sorted(model.tags),
        "signature": signature.name,
        "inputs": {
            name: {
                "dtype": calls.dtype_name(array.dtype),
                "shapes": [list(inputs.arrays[name].shape) for inputs in every],
                "random": name in first.random,
            }
            for name, array in first.arrays.items()
        },
        "outputs": list(signature.outputs),
    }


@contextmanager
def _progress(steps: int, args: argparse.Namespace) -> Iterator[Callable[[str, float], None]]:
    """Show a bar on a terminal.

    It moves between measurements only: drawing would take the interpreter's lock from the calls.
    """
    if not sys.stderr.isatty():
        yield lambda label, seconds: None
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(
        *columns, console=console(stderr=True), transient=True, auto_refresh=False
    ) as progress:
        task = progress.add_task("", total=steps * (args.warmup + args.duration))
        planned = 0.0

        def show(label: str, seconds: float) -> None:
            nonlocal planned
            progress.update(
                task, completed=planned, description=f"{label} for {seconds:g} s", refresh=True
            )
            planned += seconds

        yield show


def summary(report: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what the report says beside its results, as names and texts; nothing is escaped."""
    model, load, memory = report["model"], report["load"], report["memory"]
    settings, machine = report["settings"], report["machine"]
    phases = ", ".join(
        f"{name} {phase['s']:.3f}" for name, phase in load["phases"].items() if phase["s"] >= 5e-4
    )
    inputs = [
        f"{name}: {info['dtype']} "
        + " | ".join(f"({', '.join(map(str, shape))})" for shape in info["shapes"])
        + (", random" if info["random"] else "")
        for name, info in model["inputs"].items()
    ]
    threads = [
        f"{name} {count}"
        for name, count in (
            ("intra_op", settings["intra_op_threads"]),
            ("inter_op", settings["inter_op_threads"]),
        )
        if count is not None
    ]
    versions = ", ".join(f"{name} {text}" for name, text in report["versions"].items())
    return [
        ("model", f"{model['path']}  {','.join(model['tags'])}: {model['signature']}"),
        ("inputs", "; ".join(inputs) or "none"),
        (
            "machine",
            f"{machine['processor']}, {_count(machine['usable_cpus'], 'processor')}"
            + "".join(f", {text}" for text in threads),
        ),
        ("versions", versions),
        (
            "load",
            f"import {load['import_s']:.3f} s, load {load['load_s']:.3f} s"
            + (f" ({phases})" if phases else "")
            + f", first call {load['first_call_s']:.3f} s",
        ),
        (
            "memory",
            f"{_size(memory['resident_before_load_bytes'])} before loading, "
            f"{_size(memory['resident_after_load_bytes'])} after, "
            f"{_size(memory['resident_after_first_call_bytes'])} after the first call, "
            f"peak {_size(memory['resident_peak_bytes'])}",
        ),
        ("copies", _copies_text(report["results"])),
        (
            "loop",
            f"closed, measured for {settings['duration_s']:g} s "
            f"after {settings['warmup_s']:g} s of warm-up",
        ),
    ]


def results_table(report: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return the headings and rows of the results."""
    results = report["results"]
    unit, divisor = latency_unit(results)
    names = list(results[0]["latency_us"])
    headings = ["batch", "threads", "calls/s", "examples/s", *(f"{name} {unit}" for name in names)]
    rows = [
        [
            str(figures["batch"]),
            str(figures["concurrency"]),
            _number(figures["calls_per_s"]),
            _number(figures["examples_per_s"]),
            *(_number(figures["latency_us"][name] / divisor) for name in names),
        ]
        for figures in results
    ]
    return headings, rows


def latency_unit(results: list[dict[str, Any]]) -> tuple[str, float]:
    """Return the unit to show latencies in, and how many microseconds it is."""
    typical = max(figures["latency_us"]["p50"] for figures in results)
    if typical < 1e3:
        return "us", 1.0
    return ("ms", 1e3) if typical < 1e6 else ("s", 1e6)


def _print(report: dict[str, Any], output: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="bold")
    facts.add_column(overflow="fold")
    for name, text in summary(report):
        facts.add_row(name, Text(escaped(text)))
    output.print(facts)
    output.print()
    output.print(_rich_table(report))


def _rich_table(report: dict[str, Any]) -> Table:
    from rich import box
    from rich.table import Table

    headings, rows = results_table(report)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for heading in headings:
        # The unit on a line of its own: eight numbers fit into 80 columns.
        table.add_column(heading.replace(" ", "\n"), justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


def _copies_text(results: list[dict[str, Any]]) -> str:
    """Return how much is copied for each call, by reason."""
    texts = []
    for copies in (figures["copies"] for figures in results):
        texts.append(
            ", ".join(
                f"{each['count'] / copies['calls']:.3g} {reason} "
                f"({_size(round(each['bytes'] / copies['calls']))})"
                for reason, each in copies["by_reason"].items()
            )
        )
    copied = list(dict.fromkeys(text for text in texts if text))
    return f"in each call: {' | '.join(copied)}" if copied else "none"


def _number(value: float) -> str:
    """Return three significant digits or all before the point: 0.0123, 1.23, 12.3, 12,345."""
    if value >= 99.95 or value <= 0:
        return f"{value:,.0f}"
    return f"{value:.{max(0, 2 - math.floor(math.log10(value)))}f}"


def _size(count: int) -> str:
    from rich.filesize import decimal

    return decimal(count)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + "s" * (number != 1)


def _whole_numbers(most: int | None) -> Callable[[str], list[int]]:
    """Return the argparse type of whole numbers from 1 on, separated by ','; none twice."""

    def parse(text: str) -> list[int]:
        numbers = [whole_number(1)(item) for item in text.split(",")]
        if most is not None and max(numbers) > most:
            raise argparse.ArgumentTypeError(f"over {most}: {text!r}")
        return list(dict.fromkeys(numbers))

    return parse


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= 1e6:
        raise argparse.ArgumentTypeError(f"not a number of seconds: {text!r}")
    return seconds
