"""`savedmodel doctor`: what would go wrong with a SavedModel here, before anything is allocated."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from savedmodel.cli.arguments import FOUND, add_tag_set, add_verb
from savedmodel.cli.console import console, escaped, json_text, size_text
from savedmodel.cli.scan import place

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from savedmodel.cli.arguments import Subparsers
    from savedmodel.diagnosis import Diagnosis, Problem

# Of each problem, and of each kind: enough to see what they have in common.
_SHOWN_NODES = 3
_SHOWN_PROBLEMS = 10

_KINDS = {
    "unreadable_checkpoint": "variables files",
    "missing_key": "not in the checkpoint",
    "mismatched_variable": "variable of another dtype or shape",
    "unrestored_variable": "variable without a value",
    "unread_key": "checkpoint key that nothing reads",
    "broken_signature": "signature",
    "broken_graph": "graph",
    "unregistered_op": "unknown op",
    "missing_function": "unknown function",
    "no_kernel": "op without a kernel",
    "absent_device": "device",
    "missing_asset": "missing asset",
    "broken_asset": "asset",
    "version": "version",
    "dangerous_op": "dangerous op",
}


def add_parser(subparsers: Subparsers) -> None:
    """Declare the verb `doctor`."""
    parser = add_verb(
        subparsers,
        "doctor",
        "tell what would go wrong with a SavedModel on this machine",
        """
        Tell what would go wrong with a SavedModel on this machine, without loading it: variables
        without a value, checkpoint keys that nothing reads, ops that are unknown or have no kernel
        here, absent devices, versions, dangerous ops; and what it takes in memory. The exit status
        is 3 if there are errors or warnings.
        """,
        """
        savedmodel doctor MODEL
        savedmodel doctor MODEL --tag_set serve,gpu
        savedmodel doctor MODEL --format json    # for a program: all nodes and all keys
        """,
    )
    # Not add_dir(): the directory is all that this verb is usually given.
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--dir", metavar="DIR", help=argparse.SUPPRESS)
    where.add_argument(
        "dir",
        nargs="?",
        default=argparse.SUPPRESS,
        metavar="DIR",
        help="the SavedModel: its directory, a directory of numbered versions, or an archive",
    )
    add_tag_set(parser)
    parser.add_argument("--format", choices=("text", "json"), default="text")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the report. Returns FOUND if anything is wrong, else 0."""
    from savedmodel.diagnosis import diagnose

    diagnosis = diagnose(args.dir, args.tag_set)
    if args.format == "json":
        _print_json(diagnosis)
    else:
        _print_text(diagnosis)
    return FOUND if diagnosis.problems else 0


def _print_json(diagnosis: Diagnosis) -> None:
    report = {
        **diagnosis._asdict(),
        "problems": [
            {**problem._asdict(), "nodes": [node._asdict() for node in problem.nodes]}
            for problem in diagnosis.problems
        ],
        "memory": diagnosis.memory._asdict(),
    }
    print(json_text(report))


def _print_text(diagnosis: Diagnosis) -> None:
    from rich.text import Text

    terminal = console()

    def line(text: str, style: str = "") -> None:
        terminal.print(Text(text, style=style), soft_wrap=True)

    tags = ", ".join(map(escaped, diagnosis.tags))
    line(f"SavedModel '{escaped(diagnosis.path)}', tags [{tags}]", "bold")
    for title, style, problems in (
        ("{} error{}: it fails here", "bold red", diagnosis.errors),
        ("{} warning{}", "bold yellow", diagnosis.warnings),
    ):
        if problems:
            line(title.format(len(problems), "" if len(problems) == 1 else "s"), style)
            for text in _lines(problems):
                line(f"  {text}")
    if not diagnosis.problems:
        line("healthy: nothing is missing, unknown or dangerous", "bold green")
    line("information", "bold")
    for name, text in _information(diagnosis):
        line(f"  {name:11}{text}")


def _lines(problems: Iterable[Problem]) -> Iterator[str]:
    by_kind: dict[str, list[Problem]] = {}
    for problem in problems:
        by_kind.setdefault(problem.kind, []).append(problem)
    for kind, alike in by_kind.items():
        for problem in alike[:_SHOWN_PROBLEMS]:
            subject = f" '{escaped(problem.subject)}'" if problem.subject else ""
            yield f"{_KINDS[kind]}{subject}: {escaped(problem.message)}"
            for node in problem.nodes[:_SHOWN_NODES]:
                yield f"  {place(node)}"
            yield from _rest(len(problem.nodes) - _SHOWN_NODES, "  ")
        yield from _rest(len(alike) - _SHOWN_PROBLEMS, f"{_KINDS[kind]}: ")


def _rest(count: int, before: str) -> Iterator[str]:
    if count > 0:
        yield f"{before}and {count:,} more (--format json lists them)"


def _information(diagnosis: Diagnosis) -> Iterator[tuple[str, str]]:
    memory = diagnosis.memory
    yield (
        "versions",
        f"saved with TensorFlow {escaped(diagnosis.tensorflow_version) or '?'} (producer "
        f"{diagnosis.producer}, min_consumer {diagnosis.min_consumer}); here "
        f"{diagnosis.runtime_version} ({diagnosis.consumer})",
    )
    yield "devices", ", ".join(diagnosis.devices)
    yield (
        "weights",
        f"{size_text(memory.signature_weights)} for the signatures, "
        f"{size_text(memory.weights)} with the functions, "
        f"of {size_text(memory.checkpoint)} in the checkpoint",
    )
    yield "graph", f"{size_text(memory.graph)}, {size_text(memory.constants)} in constants"
    if diagnosis.repairs:
        shown = ", ".join(map(escaped, diagnosis.repairs[:_SHOWN_NODES]))
        rest = len(diagnosis.repairs) - _SHOWN_NODES
        yield (
            "repaired",
            f"{len(diagnosis.repairs)} variables that the restore op forgets are restored all "
            f"the same: {shown}" + (f" and {rest:,} more" if rest > 0 else ""),
        )
