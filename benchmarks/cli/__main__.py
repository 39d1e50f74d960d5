"""`python benchmarks/cli`: see the package."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

# `python FOLDER` puts the folder itself on the path, and its parts are modules of a package.
sys.path[0] = str(Path(__file__).resolve().parents[2])

from rich.console import Console  # noqa: E402

from benchmarks import fresh_process, report  # noqa: E402
from benchmarks.cli import measure  # noqa: E402


def main() -> None:
    """Measure everything and print it. The exit status does not depend on the figures."""
    args = _parser().parse_args()
    load_before = report.load_average()
    with Console(stderr=True).status("starting") as status:
        fresh_process.export_keras_models([measure.MODEL], status.update)
        rows = measure.measure(args.rounds, status.update)
    about = {
        **report.about_run(load_before),
        "rounds": args.rounds,
        "method": f"Whole processes on a Keras {measure.MODEL}, from start to end, both programs "
        "with the same arguments, in turn, all files in the page cache.",
    }
    report.Report(about, rows).write(args)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python benchmarks/cli",
        description="Measure the `savedmodel` command beside `saved_model_cli`.",
    )
    parser.add_argument("--rounds", type=int, default=10, help="default: 10")
    report.add_arguments(parser)
    return parser


if __name__ == "__main__":
    main()
