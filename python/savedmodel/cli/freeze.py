"""`savedmodel freeze`: write a SavedModel with constants in place of its variables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from savedmodel.cli.arguments import (
    CommandError,
    add_dir,
    add_flag,
    add_tag_set,
    add_verb,
    model_name,
)
from savedmodel.cli.console import escaped

if TYPE_CHECKING:
    import argparse

    from savedmodel.cli.arguments import Subparsers


def add_parser(subparsers: Subparsers) -> None:
    """Declare the verb `freeze`."""
    parser = add_verb(
        subparsers,
        "freeze",
        "write a SavedModel with constants in place of variables",
        """
        Write a SavedModel that holds what the signatures need and nothing else, with constants
        in place of the variables that no signature can change. It loads faster, and TensorFlow
        loads it, too. Variables that a signature changes stay variables; each is listed with the
        reason.
        """,
        """
        savedmodel freeze --dir MODEL --output_dir FROZEN
        savedmodel freeze --dir MODEL --output_dir FROZEN --signature_def serving_default
        """,
    )
    add_dir(parser)
    parser.add_argument(
        "--output_dir", required=True, metavar="DIR", help="where to write: a new directory"
    )
    add_tag_set(parser)
    parser.add_argument(
        "--signature_def",
        action="append",
        type=model_name,
        metavar="KEY",
        help="a signature to write; may be repeated (default: all)",
    )
    add_flag(parser, "overwrite", "replace the SavedModel at --output_dir")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write it and print what became of the variables. Returns 0."""
    import savedmodel
    from savedmodel.archive import local_path

    target = Path(local_path(args.output_dir))
    if not args.overwrite and target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise CommandError(f"{target} is there already; --overwrite replaces it")
    with savedmodel.load(args.dir, tags=args.tag_set, signatures=args.signature_def) as model:
        report = model.save_optimized(target)
        names = ", ".join(map(escaped, model.signatures))
    plural = "s" if report.variables_frozen != 1 else ""
    print(f"{report.variables_frozen} variable{plural} frozen, {report.bytes_frozen:,} bytes")
    for name, why in report.variables_kept.items():
        print(f"kept '{escaped(name)}': {escaped(why)}")
    size = sum(file.stat().st_size for file in target.rglob("*") if file.is_file())
    print(f"wrote {escaped(str(target))}: {size:,} bytes; signatures: {names}")
    return 0
