"""`python benchmarks/runtimes`: see the package."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

# `python FOLDER` puts the folder itself on the path, and its parts are modules of a package.
sys.path[0] = str(Path(__file__).resolve().parents[2])

from rich.console import Console  # noqa: E402

from benchmarks import report  # noqa: E402
from benchmarks.overhead import bare  # noqa: E402
from benchmarks.runtimes import (  # noqa: E402
    adapters,
    convert,
    limits,
    measure,
    models,
    plots,
    tables,
)
from benchmarks.runtimes.runtimes import RUNTIMES  # noqa: E402

PACKAGES = ("keras", "tf2onnx", "onnxruntime", "ai-edge-litert", "openvino")

METHOD = (
    "Each runtime runs in a process of its own on the same two cores, with all files in the page "
    "cache, and is measured in turn with the others. It calls from Python (C++ RunCallable: from "
    "C++), with the input where it needs no copy and outputs that NumPy can read; with 'arrays' "
    "it takes and gives arrays of its user's. p50 and p99 are of the calls of a round. Figures "
    f"marked with '{tables.WRONG.strip()}' are of answers that are not TensorFlow's."
)

QUICK = {
    "models": ["scalar", "MLP", "LSTM", "MobileNet"],
    "rounds": 1,
    "starts": 1,
    "seconds": 0.1,
    "batch": [1],
    "callers": [1, 8],
}


def main() -> None:
    """Measure everything and print it. The exit status does not depend on the figures."""
    parser = _parser()
    if "--quick" in sys.argv[1:]:
        parser.set_defaults(**QUICK)
    args = parser.parse_args()
    if args.plot_only is not None:
        plots.draw(json.loads(args.plot_only.read_text()), args.plots or Path())
        return
    load_before = report.load_average()
    plan = measure.Plan(
        models=args.models,
        runtimes=args.runtimes,
        rounds=args.rounds,
        starts=args.starts,
        seconds=args.seconds,
        batches=args.batch,
        callers=args.callers,
    )
    with Console(stderr=True).status("building") as status:
        bare.build()
        adapters.SavedModelInCpp.build()
        models.prepare(plan.models, status.update)
        convert.prepare(plan.models, status.update)
        found = measure.measure(plan, status.update)
    about = {
        **report.about_run(load_before, PACKAGES),
        "rounds": plan.rounds,
        "method": METHOD,
        "plan": vars(plan),
        "found": found.json(),
    }
    rows = limits.limit_rows(found)
    grids = tables.grids(found, plan.batches, plan.callers)
    whole = report.Report(about, rows, grids)
    whole.write(args)
    if args.plots is not None:
        plots.draw(whole.json(), args.plots)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python benchmarks/runtimes",
        description="Measure savedmodel beside TensorFlow, ONNX Runtime, LiteRT and OpenVINO.",
    )
    for name, choices in (("models", models.MODELS), ("runtimes", RUNTIMES)):
        parser.add_argument(
            f"--{name}",
            nargs="+",
            choices=list(choices),
            default=list(choices),
            metavar="NAME",
            help=f"of {'; '.join(choices)} (default: all)",
        )
    for name, default, what in (
        ("rounds", 5, "of calls; of those with other than one row and one caller, half as many"),
        ("starts", 3, "fresh processes of each runtime that start with MobileNet and ResNet50"),
    ):
        parser.add_argument(
            f"--{name}", type=int, default=default, help=f"{what} (default: {default})"
        )
    parser.add_argument(
        "--seconds", type=float, default=0.3, help="of calls in each round (default: 0.3)"
    )
    for name, numbers, what in (
        ("batch", [1, 32], "rows of a call"),
        ("callers", [1, 2, 4, 8], "threads that call at once, with one row"),
    ):
        parser.add_argument(
            f"--{name}",
            nargs="+",
            type=int,
            default=numbers,
            metavar="N",
            help=f"{what} (default: {' '.join(map(str, numbers))})",
        )
    parser.add_argument(
        "--quick", action="store_true", help="three minutes instead: few models and figures"
    )
    report.add_arguments(parser)
    parser.add_argument("--plots", type=Path, metavar="FOLDER", help="draw the plots there")
    parser.add_argument(
        "--plot-only",
        type=Path,
        metavar="JSON",
        help="measure nothing; draw the plots of an earlier run's --json",
    )
    return parser


if __name__ == "__main__":
    main()
