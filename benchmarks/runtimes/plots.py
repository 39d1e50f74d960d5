"""Draws what a run found: latency beside TensorFlow's, starts, throughput."""

from __future__ import annotations

import io
import statistics
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, NullFormatter
from PIL import Image

from benchmarks.runtimes.limits import p50, tensorflow
from benchmarks.runtimes.measure import STARTED_MODELS, Found, case_name
from benchmarks.runtimes.models import MODELS
from benchmarks.runtimes.runtimes import (
    BARE,
    BATCHED,
    BOUND,
    DEFAULT,
    LITERT,
    MAX,
    NONE,
    ONNX,
    OPENVINO,
    SAVED,
    TF1_CALLABLE,
    TF2,
)

# Ours in greens, TensorFlow's in oranges, the other engines in blues and purple.
COLOURS = {
    MAX: "#06402e",
    BOUND: "#0b6e4f",
    DEFAULT: "#2fa37b",
    BATCHED: "#0b6e4f",
    SAVED: "#0b6e4f",
    NONE: "#a3d9c0",
    BARE: "#9aa5b1",
    TF2: "#d9731a",
    TF1_CALLABLE: "#f2b46b",
    ONNX: "#2f5aa8",
    LITERT: "#7fb0e3",
    OPENVINO: "#7d4fa3",
}
LATENCY = (MAX, BOUND, DEFAULT, NONE, BARE, TF1_CALLABLE, ONNX, LITERT, OPENVINO)
STARTS = (SAVED, DEFAULT, NONE, BARE, TF2, TF1_CALLABLE, ONNX, LITERT, OPENVINO)
THROUGHPUT = (BATCHED, DEFAULT, TF2, ONNX, LITERT, OPENVINO)
# The parts of a start, and how much white is in their colour.
_SHADES = (("Python itself", 0.75), ("import", 0.5), ("load", 0.25), ("first call", 0.0))

STYLE: Any = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#555555",
    "axes.axisbelow": True,
    "grid.color": "#e3e3e3",
    "legend.frameon": False,
    "svg.fonttype": "path",
}
DPI = 130
COLOURS_OF_FILE = 96


def draw(results: dict[str, Any], folder: Path) -> None:
    """Write the plots of a run's JSON as PNG files."""
    found = Found(**results["found"])
    callers = [int(count) for count in results["plan"]["callers"]]
    folder.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(STYLE):
        for name, figure in (
            ("runtimes-latency", _latency(found)),
            ("runtimes-starts", _starts(found)),
            ("runtimes-throughput", _throughput(found, callers)),
        ):
            if figure is not None:
                _write(figure, folder / f"{name}.png")


def _write(figure: Figure, file: Path) -> None:
    """With as few colours as tell no difference: a third of the size."""
    whole = io.BytesIO()
    figure.savefig(whole, dpi=DPI)
    plt.close(figure)
    Image.open(whole).convert("RGB").quantize(COLOURS_OF_FILE).save(file, optimize=True)


def _latency(found: Found) -> Figure | None:
    """A group of bars for each model: the time of a call as a share of TensorFlow's."""
    models = [model for model in MODELS if p50(found, model, tensorflow(found, model))]
    if not models:
        return None
    figure, axes = plt.subplots(figsize=(9.6, 4.4), layout="constrained")
    shown = [name for name in LATENCY if any(p50(found, model, name) for model in models)]
    width = 0.84 / len(shown)
    for index, runtime in enumerate(shown):
        at, shares = [], []
        for group, model in enumerate(models):
            ours = p50(found, model, runtime)
            place = group + (index - (len(shown) - 1) / 2) * width
            if ours:
                theirs = p50(found, model, tensorflow(found, model))
                at.append(place)
                shares.append(statistics.median(ours) / statistics.median(theirs))
            else:
                above_axis = axes.get_xaxis_transform()
                axes.plot(place, 0.018, "x", color=COLOURS[runtime], transform=above_axis, ms=4)
        axes.bar(at, shares, width * 0.92, label=runtime, color=COLOURS[runtime])
    axes.set_yscale("log")
    others = [model for model in models if tensorflow(found, model) != TF2]
    label = "TF2 signature" + "".join(f"; {model}: TF1" for model in others)
    axes.axhline(1, color=COLOURS[TF2], linewidth=1.4, label=label)
    axes.set_xticks(range(len(models)), models)
    axes.tick_params(axis="x", length=0)
    axes.set_xlim(-0.6, len(models) - 0.4)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{share:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.grid(axis="y")
    axes.set_title(
        "Time of a call, batch 1, as a share of TensorFlow's (log scale, less is better; "
        "\N{MULTIPLICATION SIGN}: does not run)"
    )
    figure.legend(loc="outside lower center", ncols=5)
    return figure


def _starts(found: Found) -> Figure | None:
    """Bars of the parts of a start, for each model whose starts were repeated."""
    models = [model for model in STARTED_MODELS if found.starts.get(model)]
    if not models:
        return None
    figure, panels = plt.subplots(
        1,
        len(models),
        figsize=(9.6, 3.6),
        layout="constrained",
        squeeze=False,
        sharex=True,
        sharey=True,
    )
    shown = [name for name in STARTS if any(name in found.starts[model] for model in models)]
    for axes, model in zip(panels[0], models, strict=True):
        for row, runtime in enumerate(shown):
            _start_bar(axes, row, runtime, found.starts[model].get(runtime, []))
        axes.set_yticks(range(len(shown)), shown)
        axes.tick_params(axis="y", length=0)
        axes.margins(x=0.15)
        axes.grid(axis="x")
        axes.set_xlabel("seconds")
        axes.set_title(f"Process start to first answer: {model}")
    panels[0][0].invert_yaxis()
    shades = [Patch(color=_lighten("#333333", lighter), label=phase) for phase, lighter in _SHADES]
    figure.legend(handles=shades, loc="outside lower center", ncols=len(shades))
    return figure


def _lighten(colour: str, share: float) -> tuple[float, float, float]:
    """Mixed with so much white."""
    red, green, blue = (part + (1 - part) * share for part in mpl.colors.to_rgb(colour))
    return red, green, blue


def _start_bar(axes: Axes, row: int, runtime: str, starts: list[dict[str, float]]) -> None:
    if not starts:
        return
    whole, *parts = (
        statistics.median(start[key] for start in starts)
        for key in ("process", "import", "load", "call")
    )
    left = 0.0
    for length, (_, lighter) in zip([whole - sum(parts), *parts], _SHADES, strict=True):
        axes.barh(row, length, 0.7, left=left, color=_lighten(COLOURS[runtime], lighter))
        left += length
    axes.annotate(f"{whole:.2f} s", (left, row), (3, 0), textcoords="offset points", va="center")


def _throughput(found: Found, callers: list[int]) -> Figure | None:
    """A panel for each model: calls a second against the number of threads that call."""
    cases = {count: case_name(1, count) for count in callers}
    models = [
        model
        for model in MODELS
        if any(
            set(cases.values()) <= set(by_case) for by_case in found.calls.get(model, {}).values()
        )
    ]
    if len(callers) < 2 or not models:
        return None
    columns = min(3, len(models))
    rows = -(-len(models) // columns)
    figure, panels = plt.subplots(
        rows, columns, figsize=(9.6, 2.1 * rows + 0.5), layout="constrained", squeeze=False
    )
    for axes in panels.flat[len(models) :]:
        axes.set_visible(False)
    lines = {}
    for axes, model in zip(panels.flat, models, strict=False):
        for runtime in reversed(THROUGHPUT):
            by_case = found.calls[model].get(runtime, {})
            rates = [
                statistics.median(told["rate"] for told in by_case[case])
                for case in cases.values()
                if by_case.get(case)
            ]
            if len(rates) == len(callers):
                style = "--" if runtime == BATCHED else "-"
                lines[runtime] = axes.plot(
                    callers, rates, style, marker="o", markersize=3.5, color=COLOURS[runtime]
                )[0]
        axes.set_xscale("log", base=2)
        axes.set_xticks(callers, [str(count) for count in callers])
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(FuncFormatter(_thousands))
        axes.grid(axis="y")
        axes.set_title(model)
    figure.suptitle(
        "Calls a second against the number of threads that call, batch 1",
        **{"fontsize": 10, "fontweight": "bold", "ha": "left", "x": 0.01},
    )
    shown = [name for name in THROUGHPUT if name in lines]
    figure.legend(
        [lines[name] for name in shown], shown, loc="outside lower center", ncols=len(shown)
    )
    return figure


def _thousands(rate: float, _: int) -> str:
    return f"{rate / 1000:g}k" if rate >= 1000 else f"{rate:g}"
