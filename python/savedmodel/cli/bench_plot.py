"""What `bench --plot` draws: the latency distribution, and throughput against concurrency."""

from __future__ import annotations

import html
import importlib.util
import io
import re
import warnings
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from savedmodel.cli import bench
from savedmodel.cli.arguments import CommandError, UsageError
from savedmodel.cli.console import escaped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from savedmodel.cli.closed_loop import Samples

_SUFFIXES = (".png", ".svg", ".html")

# Okabe and Ito's colours, which colour-blind readers tell apart, without their yellow: it is too
# pale for a line on white. Dashes tell the lines apart in print.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
_DASHES = ("-", "--", "-.", ":")
_GREY = "#555555"

_AXES = ("concurrency", "batch")
_MOST_CURVES = 8
_WIDE = 5  # From this ratio on, a logarithmic axis shows latencies better.
_PERCENTILES = (50, 90, 99)

_STYLE: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "font.size": 10,
    "grid.color": "#dddddd",
    "svg.hashsalt": "savedmodel",
}

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 15px/1.45 system-ui, sans-serif; color: #222; max-width: 68rem; margin: 2rem auto;
       padding: 0 1rem; }}
h1 {{ font-size: 1.4rem; }}
svg {{ width: 100%; height: auto; }}
table {{ border-collapse: collapse; margin: 1.5rem 0; }}
th, td {{ padding: .25rem .7rem; text-align: left; vertical-align: top; }}
.results th, .results td {{ text-align: right; border-bottom: 1px solid #ddd;
       font-variant-numeric: tabular-nums; }}
</style>
</head>
<body>
<h1>{title}</h1>
{figure}
<table class="results">
{results}
</table>
<table class="facts">
{facts}
</table>
</body>
</html>
"""


def check(path: str) -> None:
    """Raise UsageError or CommandError if `path` could not be drawn to."""
    if Path(path).suffix.lower() not in _SUFFIXES:
        raise UsageError(f"--plot {path}: expected a file name with {', '.join(_SUFFIXES)}")
    if not Path(path).absolute().parent.is_dir():
        raise UsageError(f"--plot {path}: there is no such directory")
    # Found, not imported: that would count as time and memory of what is measured.
    if importlib.util.find_spec("matplotlib") is None:
        raise CommandError("--plot needs matplotlib: pip install savedmodel[plot]")


def draw(path: str, report: dict[str, Any], samples: Sequence[Samples]) -> None:
    """Draw the report to a file, by its suffix."""
    import matplotlib

    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        # A name in a script that the font lacks is drawn as boxes.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure = _figure(report, samples)
        suffix = Path(path).suffix.lower()
        if suffix == ".png":
            figure.savefig(path, format="png", dpi=150)
        else:
            svg = io.StringIO()
            no_metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
            figure.savefig(svg, format="svg", metadata=no_metadata)
            text = svg.getvalue()
            if suffix == ".html":
                text = _page(report, text[text.index("<svg") :])
            Path(path).write_text(text, encoding="utf-8")


def _figure(report: dict[str, Any], samples: Sequence[Samples]) -> Figure:
    from matplotlib.figure import Figure

    results = report["results"]
    axis = _throughput_axis(results)
    figure = Figure(figsize=(11 if axis else 8, 5), layout="constrained")
    panels = figure.subplots(1, 2 if axis else 1, squeeze=False)[0]
    if len(results) == 1:
        _draw_histogram(panels[0], results, samples[0])
    else:
        _draw_distributions(panels[0], results, samples)
    if axis:
        _draw_throughput(panels[1], results, axis)
    figure.suptitle(
        f"{_title(report)}\n", x=0.01, ha="left", fontsize=14, weight="bold", parse_math=False
    )
    figure.text(
        0.01, 0.925, _subtitle(report), color=_GREY, fontsize=9, va="center", parse_math=False
    )
    return figure


def _title(report: dict[str, Any]) -> str:
    model = report["model"]
    path = Path(model["path"])
    # Models often lie in a directory "saved_model", or of a version number.
    name = str(Path(*path.parts[-2:])) if len(path.parts) > 1 else str(path)
    return _shortened(f"{escaped(model['signature'])} of {escaped(name)}", 70)


def _subtitle(report: dict[str, Any]) -> str:
    machine, versions = report["machine"], report["versions"]
    inputs = ", ".join(
        f"{escaped(name)} {info['dtype']}{_sizes(info['shapes'])}"
        for name, info in report["model"]["inputs"].items()
    )
    return "    ".join(
        _shortened(text, 60)
        for text in (
            inputs,
            f"{escaped(machine['processor'])}, {machine['usable_cpus']} CPUs",
            f"TensorFlow {versions['tensorflow']}",
        )
        if text
    )


def _sizes(shapes: Sequence[Sequence[int]]) -> str:
    return " | ".join(f"[{', '.join(map(str, shape))}]" for shape in shapes)


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _unit(results: Sequence[dict[str, Any]]) -> tuple[str, float]:
    """Return the unit as it is drawn, and how many nanoseconds it is."""
    unit, microseconds = bench.latency_unit(list(results))
    return {"us": "µs"}.get(unit, unit), microseconds * 1e3


def _draw_histogram(axes: Axes, results: Sequence[dict[str, Any]], samples: Samples) -> None:
    """Draw the latencies up to a little beyond the highest percentile that is marked."""
    import numpy as np

    unit, divisor = _unit(results)
    latencies = samples.latencies_ns / divisor
    low = float(latencies[0])
    high = samples.percentile_ns(_PERCENTILES[-1]) / divisor
    high += max(0.15 * (high - low), 1e-3 * high)
    shown = latencies[latencies <= high]
    edges = np.linspace(low, high, min(80, max(10, round(len(shown) ** 0.5))) + 1)
    # A long tail would press the rest into a few bars.
    if high > _WIDE * samples.percentile_ns(_PERCENTILES[0]) / divisor:
        edges = np.geomspace(low, high, len(edges))
        _make_logarithmic(axes)
    weights = np.full(len(shown), 100 / len(latencies))
    axes.hist(shown, list(edges), weights=weights, color=_COLOURS[4])
    top = axes.get_ylim()[1]
    axes.set_ylim(0, top * 1.3)
    for level, percent in enumerate(_PERCENTILES):
        value = samples.percentile_ns(percent) / divisor
        height = top * (1.25 - 0.09 * level)
        axes.plot([value, value], [0, height], color=_COLOURS[1], linestyle=_DASHES[level])
        # Towards the side that has room.
        left = value > edges[round(0.7 * len(edges))]
        axes.annotate(
            f"p{percent}  {_number(value)} {unit}",
            (value, height),
            xytext=(-5 if left else 5, 0),
            textcoords="offset points",
            ha="right" if left else "left",
            va="top",
            color=_COLOURS[1],
            weight="bold",
        )
    beyond = len(latencies) - len(shown)
    figures = results[0]
    axes.set_title(
        f"Latency of {len(latencies):,} calls"
        f" (batch {figures['batch']}, concurrency {figures['concurrency']})"
    )
    rest = f" ({beyond:,} slower calls, up to {_number(latencies[-1])}, not shown)"
    axes.set_xlabel(f"latency in {unit}{rest if beyond else ''}")
    axes.set_ylabel("share of calls in %")


def _draw_distributions(
    axes: Axes, results: Sequence[dict[str, Any]], samples: Sequence[Samples]
) -> None:
    """Draw the share of calls that are answered within a time: one curve for each result."""
    import numpy as np

    unit, divisor = _unit(results)
    step = -(-len(results) // _MOST_CURVES)
    chosen = list(range(0, len(results), step))
    batches = list(dict.fromkeys(figures["batch"] for figures in results))
    threads = list(dict.fromkeys(figures["concurrency"] for figures in results))
    varied = [axis for axis in _AXES if len({each[axis] for each in results}) > 1]
    share = np.linspace(0, 100, 501)
    for index in chosen:
        figures, sampled = results[index], samples[index]
        batch = batches.index(figures["batch"])
        thread = threads.index(figures["concurrency"])
        label = ", ".join(f"{axis} {figures[axis]}" for axis in varied)
        # The colours of batches are those that throughput has them in.
        colour = _COLOURS[(batch if len(batches) > 1 else thread) % len(_COLOURS)]
        axes.plot(
            np.percentile(sampled.latencies_ns / divisor, share, method="inverted_cdf"),
            share,
            color=colour,
            linestyle=_DASHES[(thread if len(threads) > 1 else batch) % len(_DASHES)],
            label=label,
        )
        axes.plot(
            [sampled.percentile_ns(percent) / divisor for percent in _PERCENTILES],
            _PERCENTILES,
            "o",
            color=colour,
        )
    low = min(samples[index].latencies_ns[0] for index in chosen) / divisor
    high = 1.3 * max(samples[index].percentile_ns(99) for index in chosen) / divisor
    if high > _WIDE * low:
        _make_logarithmic(axes)
        axes.set_xlim(0.9 * low, high)
    else:
        axes.set_xlim(max(0, low - 0.05 * (high - low)), high)
    axes.set_ylim(0, 102)
    axes.set_yticks([0, 25, 50, 75, 90, 99])
    axes.set_title("Latency distribution")
    axes.set_xlabel(f"latency in {unit} (dots: p50, p90, p99)")
    axes.set_ylabel("share of calls answered by then, in %")
    title = f"{len(chosen)} of {len(results)}" if step > 1 else None
    axes.legend(
        title=title, loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=2, frameon=False
    )


def _make_logarithmic(axes: Axes) -> None:
    """Make the x axis logarithmic, with plain numbers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _number(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def _throughput_axis(results: Sequence[dict[str, Any]]) -> str | None:
    """Return what throughput is drawn against, if that was varied."""
    for axis in _AXES:
        if len({figures[axis] for figures in results}) > 1:
            return axis
    return None


def _draw_throughput(axes: Axes, results: Sequence[dict[str, Any]], axis: str) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    def key(figures: dict[str, Any]) -> int:
        return int(figures["batch"]) if axis == "concurrency" else 0

    lines = [list(group) for _, group in groupby(results, key)]
    for number, line in enumerate(lines):
        line.sort(key=lambda figures: int(figures[axis]))
        xs = [figures[axis] for figures in line]
        ys = [figures["examples_per_s"] for figures in line]
        axes.plot(
            xs,
            ys,
            "o",
            color=_COLOURS[number % len(_COLOURS)],
            linestyle=_DASHES[number % len(_DASHES)],
            label=f"batch {line[0]['batch']}",
        )
        if len(lines) == 1:
            for x, y in zip(xs, ys, strict=True):
                axes.annotate(
                    _number(y),
                    (x, y),
                    xytext=(0, 9),
                    textcoords="offset points",
                    ha="center",
                    # A line that rises or falls would cross it.
                    bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
                )
    values = sorted({figures[axis] for figures in results})
    if values[-1] >= 4 * values[0]:
        axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(values))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _number(value)))
    axes.margins(x=0.1)
    axes.set_ylim(0, 1.12 * max(figures["examples_per_s"] for figures in results))
    axes.set_title(f"Throughput against {axis}")
    axes.set_xlabel("concurrency (threads that call)" if axis == "concurrency" else "batch")
    axes.set_ylabel("examples per second")
    if len(lines) > 1:
        axes.legend(loc="best")


def _page(report: dict[str, Any], svg: str) -> str:
    def cells(row: Sequence[str], tag: str) -> str:
        texts = "".join(f"<{tag}>{html.escape(escaped(text))}</{tag}>" for text in row)
        return f"<tr>{texts}</tr>"

    headings, rows = bench.results_table(report)
    return _PAGE.format(
        title=html.escape(_title(report)),
        # The drawing's size comes from the page.
        figure=re.sub(r' (?:width|height)="[\d.]+pt"', "", svg, count=2),
        results="\n".join([cells(headings, "th"), *(cells(row, "td") for row in rows)]),
        facts="\n".join(
            f"<tr><th>{name}</th><td>{html.escape(escaped(text))}</td></tr>"
            for name, text in bench.summary(report)
        ),
    )
