"""`python benchmarks/overhead`: see the package."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

# `python FOLDER` puts the folder itself on the path, and its parts are modules of a package.
sys.path[0] = str(Path(__file__).resolve().parents[2])

from rich.console import Console  # noqa: E402

from benchmarks import native, report  # noqa: E402
from benchmarks.overhead import bare, calls, process  # noqa: E402


def main() -> None:
    """Measure everything and print it. The exit status does not depend on the figures."""
    args = _parser().parse_args()
    messages = Console(stderr=True)
    load_before = report.load_average()
    with messages.status("building") as status:
        library = bare.build()
        status.update("making the models")
        models = native.BUILD / "models"
        calls.make_models(models)

        # First, while no other process shares TensorFlow's libraries: PSS would count less.
        later = process.measure_imports(args.process_rounds, status.update)
        later += process.measure_memory(max(1, args.process_rounds // 4), status.update)

        rows: list[report.Row] = []
        copies: list[report.Row] = []
        for subject in calls.SUBJECTS:
            found, copied = calls.measure_calls(
                library, models, subject, args.rounds, args.calls, status.update
            )
            rows += found
            copies.append(copied)
        status.update("copies")
        copies += calls.measure_copies(
            models / "pass_through", models / "scalar_multiply", args.calls
        )
        calls.assert_no_tensorflow()

    tensorflow_calls = calls.tensorflow_calls(args.calls)
    about = {
        **report.about_run(load_before),
        "rounds": args.rounds,
        "calls_per_round": args.calls,
        "tensorflow_calls_per_round": tensorflow_calls,
        "process_rounds": args.process_rounds,
        "method": f"A round's time of a call is the mean of {args.calls} calls "
        f"({tensorflow_calls} of TensorFlow's Python).",
    }
    report.Report(about, rows + copies + later).write(args)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python benchmarks/overhead",
        description="Measure what savedmodel adds to TensorFlow's C++ runtime, and what it saves "
        "beside TensorFlow's Python.",
    )
    parser.add_argument("--rounds", type=int, default=200, help="of timed calls (default: 200)")
    parser.add_argument(
        "--calls",
        type=int,
        default=500,
        help="per round; a tenth of that for TensorFlow's Python (default: 500)",
    )
    parser.add_argument(
        "--process-rounds",
        type=int,
        default=20,
        help="of fresh processes that import; a quarter of that for memory (default: 20)",
    )
    report.add_arguments(parser)
    return parser


if __name__ == "__main__":
    main()
