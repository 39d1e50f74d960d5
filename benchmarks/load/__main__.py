"""`python benchmarks/load`: see the package."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

# `python FOLDER` puts the folder itself on the path, and its parts are modules of a package.
sys.path[0] = str(Path(__file__).resolve().parents[2])

from rich.console import Console  # noqa: E402

from benchmarks import fresh_process, report  # noqa: E402
from benchmarks.load import measure  # noqa: E402


def main() -> None:
    """Measure everything and print it. The exit status does not depend on the figures."""
    args = _parser().parse_args()
    load_before = report.load_average()
    with Console(stderr=True).status("starting") as status:
        fresh_process.export_keras_models(args.models, status.update)
        inspection = measure.measure_inspection(args.models, args.rounds, status.update)
        rows = measure.measure_models(args.models, args.rounds, status.update)
    about = {
        **report.about_run(load_before),
        "rounds": args.rounds,
        "threads": measure.THREADS,
        "method": "Each measurement is of a process of its own, with "
        f"{measure.THREADS} threads, batch 1 and all files in the page cache. The library is "
        "TensorFlow's own: `import tensorflow` in its Python, `dlopen` in C++, a part of a "
        "process's first load in savedmodel. Answers are compared by the largest difference of "
        "an element, as a share of the largest element.",
    }
    report.Report(about, rows + inspection).write(args)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python benchmarks/load",
        description="Measure how soon a SavedModel gives its first answer, and in how much "
        "memory: TensorFlow's Python, TensorFlow's C++ loader and savedmodel.",
    )
    parser.add_argument("--rounds", type=int, default=10, help="default: 10")
    parser.add_argument(
        "--models",
        nargs="+",
        choices=measure.MODELS,
        default=measure.MODELS,
        metavar="NAME",
        help=f"of {', '.join(measure.MODELS)} (default: all)",
    )
    report.add_arguments(parser)
    return parser


if __name__ == "__main__":
    main()
