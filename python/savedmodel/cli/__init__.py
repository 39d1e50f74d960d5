"""The `savedmodel` command: one verb, one module of this package.

A verb's module has `add_parser(subparsers)`, which declares its arguments and sets `run` as their
default, and `run(args)`, which does the work and returns the exit status. What a verb needs beyond
the standard library it imports inside `run`, so that `savedmodel --help` stays quick.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

import savedmodel
from savedmodel.cli import demo

_VERBS = (demo,)

_DEBUG_HELP = "let errors through with their traceback"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the `savedmodel` command and return its exit status.

    `argv` holds the arguments after the command's name; by default, those of the process.
    """
    parser = _parser()
    args = parser.parse_args(argv)
    try:
        status = _run(parser, args)
        # What is still buffered would otherwise fail after this function, out of its reach.
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader, `head` for one, has all it wants. Python flushes stdout once more on exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (savedmodel.SavedModelError, OSError, ImportError) as error:
        if args.debug:
            raise
        print(f"savedmodel: error: {_one_line(error)}", file=sys.stderr)
        return 1
    return status


def _parser() -> argparse.ArgumentParser:
    # `python -m savedmodel` would call itself `__main__.py`.
    parser = argparse.ArgumentParser(
        prog="savedmodel", description="Run TensorFlow SavedModels without TensorFlow's Python."
    )
    parser.add_argument(
        "--version", action="version", version=f"savedmodel {savedmodel.__version__}"
    )
    parser.add_argument("--debug", action="store_true", help=_DEBUG_HELP)
    folders = parser.add_mutually_exclusive_group()
    folders.add_argument(
        "--cmake-dir",
        action="store_true",
        help="print the folder of savedmodelConfig.cmake, for CMAKE_PREFIX_PATH",
    )
    folders.add_argument(
        "--include-dir", action="store_true", help="print the folder of the C++ headers"
    )
    subparsers = parser.add_subparsers(title="verbs", metavar="VERB")
    for verb in _VERBS:
        verb.add_parser(subparsers)
    for subparser in subparsers.choices.values():
        # After the verb too. A default here would undo a --debug given before the verb.
        subparser.add_argument(
            "--debug", action="store_true", default=argparse.SUPPRESS, help=_DEBUG_HELP
        )
    return parser


def _run(parser: argparse.ArgumentParser, args: argparse.Namespace) -> int:
    has_verb = hasattr(args, "run")
    if args.cmake_dir or args.include_dir:
        if has_verb:
            parser.error("--cmake-dir and --include-dir take no verb")
        print(savedmodel.get_cmake_dir() if args.cmake_dir else savedmodel.get_include_dir())
        return 0
    if not has_verb:
        parser.print_help(sys.stderr)
        return 2
    return int(args.run(args))


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__
