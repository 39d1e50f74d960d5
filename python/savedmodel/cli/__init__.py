"""The `savedmodel` command: one verb, one module of this package.

A verb's module has `add_parser(subparsers)`, which declares its arguments and sets `run` as their
default, and `run(args)`, which does the work and returns the exit status. What a verb needs beyond
the standard library it imports inside `run`, so that `savedmodel --help` stays quick.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Iterator, Sequence

import savedmodel
from savedmodel.cli import bench, demo, doctor, freeze, profile, run, scan, show
from savedmodel.cli.arguments import (
    FAILED,
    INTERRUPTED,
    WRONG_USAGE,
    CommandError,
    Parser,
    UsageError,
)
from savedmodel.cli.console import one_line

_VERBS = (show, run, scan, doctor, freeze, bench, profile, demo)

# The arguments that name a directory or a file, for completion.
_DIRECTORIES = ("dir", "outdir", "output_dir")
_FILES = ("json", "plot", "trace")

_DEBUG_HELP = "let errors through with their traceback"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the `savedmodel` command and return its exit status.

    `argv` holds the arguments after the command's name; by default, those of the process.
    """
    _prepare_streams()
    parser = _parser()
    args = parser.parse_args(argv)
    try:
        status = _run(parser, args)
        # What is still buffered would otherwise fail after this function, out of its reach.
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader, `head` for one, has all it wants. Python flushes stdout once more on exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except KeyboardInterrupt:
        if args.debug:
            raise
        return INTERRUPTED
    except (CommandError, savedmodel.SavedModelError, OSError, ImportError) as error:
        if args.debug:
            raise
        print(f"savedmodel: error: {_message(error)}", file=sys.stderr)
        return WRONG_USAGE if isinstance(error, UsageError) else FAILED
    return status


def _prepare_streams() -> None:
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            # The process was started without it: no file may get its number, and print() would
            # write errors to stdout.
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))
        elif isinstance(stream, io.TextIOWrapper):
            # A name that the terminal's encoding lacks is shown escaped.
            stream.reconfigure(errors="backslashreplace")


def _parser() -> Parser:
    # `python -m savedmodel` would call itself `__main__.py`.
    parser = Parser(
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
    parser.add_argument(
        "--print-completion",
        action=_PrintCompletion,
        choices=("bash", "zsh", "tcsh"),
        help="print this shell's completion of the command: source it",
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
        return WRONG_USAGE
    return int(args.run(args))


def _message(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return one_line(f"{error.filename}: {error.strerror}")
    return one_line(str(error)) or type(error).__name__


class _PrintCompletion(argparse.Action):
    """Print a shell's completion of this parser, and exit."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        import shtab

        for action in _actions(parser):
            if action.dest in _DIRECTORIES:
                action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
            elif action.dest in _FILES:
                action.complete = shtab.FILE  # type: ignore[attr-defined]
        print(shtab.complete(parser, str(values)))
        parser.exit()


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Return the arguments of a parser and of its verbs."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for verb in action.choices.values():
                yield from _actions(verb)
