"""`savedmodel profile`: where the time of a call goes, op by op."""

from __future__ import annotations

import argparse
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from savedmodel.cli import calls
from savedmodel.cli.arguments import CommandError, UsageError, add_verb, whole_number, writing
from savedmodel.cli.console import console, escaped, json_text
from savedmodel.cli.inputs import read_inputs

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from savedmodel import Model, Signature
    from savedmodel.cli.arguments import Subparsers
    from savedmodel.cli.calls import Inputs
    from savedmodel.cli.trace import Group, Trace

# With other options than those of loading a call goes through an executor of its own, so it has
# calls of its own to warm up.
_WARM_UP = 3

# The calls that TensorFlow inlined stand before the names of the ops in them.
_INLINED = re.compile(r"^(?:(?:Stateful)?PartitionedCall(?:_\d+)?/)+(?=.)")

_PARTS = {
    "before_ops": "before the first op",
    "ops": "while ops ran",
    "between_ops": "between ops",
    "after_ops": "after the last op",
}


def add_parser(subparsers: Subparsers) -> None:
    """Declare the verb `profile`."""
    parser = add_verb(
        subparsers,
        "profile",
        "trace a call op by op",
        """
        Trace a call of a signature op by op: a table of the costliest ops, by kind and by node,
        and a trace file for https://ui.perfetto.dev or chrome://tracing. Functions that
        TensorFlow inlines show as their ops. Inputs that are not given are random, by the
        signature's dtypes and shapes.
        """,
        """
        savedmodel profile --dir MODEL
        savedmodel profile --dir MODEL --trace trace.json      # open it in Perfetto
        savedmodel profile --dir MODEL --batch 16 --top 5 --runs 20
        savedmodel profile --dir MODEL --inputs image=cat.jpg
        savedmodel profile --dir MODEL --format json           # for a program
        """,
    )
    calls.add_call_arguments(parser)
    parser.add_argument(
        "--batch",
        type=whole_number(1),
        metavar="B",
        help="first size of random inputs, where the signature leaves it open (default: 1)",
    )
    parser.add_argument(
        "--trace", metavar="FILE", help="write the call as a Chrome trace, which is JSON, to FILE"
    )
    parser.add_argument(
        "--runs",
        type=whole_number(1),
        default=5,
        metavar="N",
        help="calls to trace, after warming up; the one of median time is shown (default: 5)",
    )
    parser.add_argument(
        "--top",
        type=whole_number(1),
        default=10,
        metavar="N",
        help="rows of each table (default: 10)",
    )
    parser.add_argument(
        "--format", choices=("text", "json"), default="text", help="json has every op"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Trace and report. Returns 0."""
    import json

    model, signature = calls.load_signature(args)
    with model:
        given = read_inputs(args, signature)
        if given and args.batch is not None:
            raise UsageError(calls.BATCH_OF_GIVEN)
        inputs = calls.make_inputs(signature, given, dict(args.shape), args.batch)
        untraced_ns = _time_untraced(signature, inputs, args.runs)
        traces = [_trace(signature, inputs) for _ in range(_WARM_UP + args.runs)][_WARM_UP:]
        trace = sorted(traces, key=lambda each: each.wall_ns)[len(traces) // 2]
        report = _report(model, signature, inputs, args.runs, untraced_ns, trace)
    if not trace.ops:
        raise CommandError(f"TensorFlow traced no op of signature '{signature.name}'")
    # Files first: who reads the tables may have enough of them early.
    if args.trace is not None:
        from savedmodel.cli.trace import chrome_trace

        title = f"{signature.name} of {model.path}"
        with writing(args.trace):
            Path(args.trace).write_text(json.dumps(chrome_trace(trace, title)), encoding="utf-8")
    if args.format == "json":
        print(json_text(report))
    else:
        _print(report, trace, args.top, console())
    return 0


def _time_untraced(signature: Signature, inputs: Inputs, runs: int) -> int:
    """Return the median time of `runs` calls as users make them, after warming up."""
    times = []
    for _ in range(_WARM_UP + runs):
        start = time.perf_counter_ns()
        try:
            signature(**inputs.arrays)
        except Exception as error:
            raise calls.refused(error, inputs) from error
        times.append(time.perf_counter_ns() - start)
    return sorted(times[_WARM_UP:])[runs // 2]


def _trace(signature: Signature, inputs: Inputs) -> Trace:
    import savedmodel
    from savedmodel.cli.trace import read

    options = savedmodel.RunOptions(trace_level="FULL_TRACE")
    metadata = savedmodel.RunMetadata()
    # TensorFlow reads this clock for its kernels' times.
    begin = time.time_ns()
    start = time.perf_counter_ns()
    signature.run(inputs.arrays, run_options=options, metadata=metadata)
    wall = time.perf_counter_ns() - start
    return read(metadata.to_dict().get("step_stats", {}), begin, wall)


def _report(
    model: Model, signature: Signature, inputs: Inputs, runs: int, untraced_ns: int, trace: Trace
) -> dict[str, Any]:
    """Return what --format json prints."""
    from savedmodel.cli import system
    from savedmodel.cli.trace import grouped

    total = max(1, trace.sum_ns())

    def figures(group: Group) -> dict[str, Any]:
        return {
            "count": len(group.ops),
            "self_us": group.self_ns / 1e3,
            "share": group.self_ns / total,
            "output_bytes": group.bytes,
            "overlap": group.overlap,
        }

    return {
        "versions": system.versions(),
        "machine": system.machine(),
        "model": {
            "path": model.path,
            "tags": sorted(model.tags),
            "signature": signature.name,
            "inputs": {
                name: {
                    "dtype": calls.dtype_name(array.dtype),
                    "shape": list(array.shape),
                    "random": name in inputs.random,
                }
                for name, array in inputs.arrays.items()
            },
        },
        "runs": runs,
        "untraced_median_us": untraced_ns / 1e3,
        "wall_us": trace.wall_ns / 1e3,
        "parts_us": {name: part / 1e3 for name, part in trace.parts_ns().items()},
        "ops_sum_us": trace.sum_ns() / 1e3,
        "by_op": [
            {"op": op, "device": device, **figures(group)}
            for (op, device), group in grouped(trace.ops, "op", "device").items()
        ],
        "by_node": [
            {
                "node": node,
                "op": op,
                "device": device,
                "outputs": [str(output) for output in group.ops[-1].outputs],
                **figures(group),
            }
            for (node, op, device), group in grouped(trace.ops, "node", "op", "device").items()
        ],
    }


def _print(report: dict[str, Any], trace: Trace, top: int, output: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    model = report["model"]
    inputs = [
        f"{name}: {info['dtype']} ({', '.join(map(str, info['shape']))})"
        + (", random" if info["random"] else "")
        for name, info in model["inputs"].items()
    ]
    devices = {op.device: _device(op.device) for op in trace.ops}
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="bold")
    facts.add_column(overflow="fold")
    tags = ",".join(model["tags"])
    for name, text in (
        ("model", f"{model['path']}  {tags}: {model['signature']}"),
        ("inputs", "; ".join(inputs) or "none"),
        ("devices", ", ".join(devices.values())),
    ):
        facts.add_row(name, Text(escaped(text)))
    unit = _Unit("us", 1e3) if trace.wall_ns < 1e7 else _Unit("ms", 1e6)
    for renderable in (
        facts,
        _time_table(report, trace, unit),
        *_slowdown(report),
        _op_table(report, len(devices) > 1, top, unit),
        _node_table(report, len(devices) > 1, top, unit),
    ):
        output.print(renderable)
        output.print()


def _slowdown(report: dict[str, Any]) -> list[str]:
    """Return a warning if the call was much longer for being traced."""
    times = report["wall_us"] / max(1e-3, report["untraced_median_us"])
    if times < 2:
        return []
    return [f"Tracing made the call {times:.1f} times as long: trust the ops' times, not the gaps."]


class _Unit(NamedTuple):
    name: str
    nanoseconds: float

    def text(self, nanoseconds: float) -> str:
        return f"{nanoseconds / self.nanoseconds:,.{1 if self.name == 'us' else 3}f}"


def _time_table(report: dict[str, Any], trace: Trace, unit: _Unit) -> Table:
    """Return where the call's time went: the parts add up to it."""
    wall, runs = trace.wall_ns, report["runs"]
    parts = trace.parts_ns()
    table = _table("Time of the call", ("", "left"), (unit.name, "right"), ("share", "right"))

    def add(name: str, nanoseconds: float, style: str = "") -> None:
        table.add_row(name, unit.text(nanoseconds), _percent(nanoseconds / wall), style=style)

    for name, part in parts.items():
        add(_PARTS[name], part)
    add(f"the call, traced (median of {runs})", wall, "bold")
    add(f"the call without tracing (median of {runs})", report["untraced_median_us"] * 1e3)
    at_once = trace.sum_ns() / max(1, parts["ops"])
    add(f"sum over {len(trace.ops):,} ops ({at_once:.2f} at once)", trace.sum_ns())
    return table


def _op_table(report: dict[str, Any], several: bool, top: int, unit: _Unit) -> Table:
    """Return the costliest kinds of ops, with their devices if there are several."""
    rows = report["by_op"]
    columns = [("op", "left"), *_columns(unit), ("at once", "right")]
    table = _table(_title("Ops by kind", len(rows), top), *columns)
    if several:
        table.add_column("device")
    for row in rows[:top]:
        device = [_name(_device(row["device"]), 12)] if several else []
        table.add_row(_name(row["op"], 34), *_figures(row, unit), f"{row['overlap']:.2f}", *device)
    return table


def _node_table(report: dict[str, Any], several: bool, top: int, unit: _Unit) -> Table:
    """Return the costliest nodes, with their devices if there are several."""
    rows = report["by_node"]
    columns = [("node, op and what it gives", "left"), *_columns(unit)]
    table = _table(_title("Ops by node", len(rows), top), *columns)
    for row in rows[:top]:
        details = f"{row['op']} gives {', '.join(row['outputs']) or 'nothing'}"
        if several:
            details += f" on {_device(row['device'])}"
        name = _name(_INLINED.sub("", row["node"]), 48)
        name.append(f"\n  {_cut(escaped(details), 46)}", style="dim")
        table.add_row(name, *_figures(row, unit))
    return table


def _columns(unit: _Unit) -> list[tuple[str, Any]]:
    return [(name, "right") for name in (unit.name, "share", "count", "output")]


def _figures(row: dict[str, Any], unit: _Unit) -> tuple[str, str, str, str]:
    from rich.filesize import decimal

    return (
        unit.text(row["self_us"] * 1e3),
        _percent(row["share"]),
        f"{row['count']:,}",
        decimal(row["output_bytes"]).replace("bytes", "B"),
    )


def _table(title: str, *columns: tuple[str, Any]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(
        title=title,
        title_style="bold",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        show_edge=False,
    )
    for heading, justify in columns:
        table.add_column(heading, justify=justify, no_wrap=True)
    return table


def _title(text: str, count: int, top: int) -> str:
    return text if count <= top else f"{text} (the first {top} of {count})"


def _device(name: str) -> str:
    """Return the short name of a device: "CPU:0" of "/job:localhost/.../device:CPU:0"."""
    return name.rpartition("/device:")[2]


def _name(name: str, most: int) -> Text:
    """Return a name that takes at most `most` columns: its end tells more than its middle."""
    from rich.text import Text

    text = escaped(name)
    if len(text) > most:
        head = most // 4
        text = f"{text[:head]}…{text[head + 1 - most :]}"
    return Text(text)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _percent(share: float) -> str:
    return f"{share:.1%}"
