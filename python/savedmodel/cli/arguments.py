"""What the verbs' arguments have in common, with `saved_model_cli`'s names and meanings."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import textwrap
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

# Exit statuses beside 0; docs/cli.md has their meaning for users. argparse itself exits with 2.
FAILED = 1
WRONG_USAGE = 2
FOUND = 3
INTERRUPTED = 130  # As shells say it of a process that SIGINT ended.

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction["Parser"]


class CommandError(Exception):
    """Says in one line why a verb cannot do what it was asked to; the exit status is FAILED."""


class UsageError(CommandError):
    """Arguments that contradict each other or make no sense; the exit status is WRONG_USAGE."""


class Parser(argparse.ArgumentParser):
    """Takes `--name=true` and `--name=false` of the switches in `flags` ("--name").

    To argparse, what may have a value is no switch, and its help shows a place for the value.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.flags: set[str] = set()

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse arguments, also those of a verb, for the parser of all verbs."""
        given = sys.argv[1:] if args is None else args
        return super().parse_known_args([self._without_value(arg) for arg in given], namespace)

    def _without_value(self, arg: str) -> str:
        flag, _, value = arg.partition("=")
        if "=" not in arg or flag not in self.flags:
            return arg
        # What absl, and so saved_model_cli, understands by a boolean.
        if value.lower() in ("true", "t", "1"):
            return flag
        if value.lower() in ("false", "f", "0"):
            return f"--no{flag[2:]}"
        self.error(f"argument {flag}: neither true nor false: {value!r}")


@contextlib.contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[None]:
    """Name the file in errors that come without it: NumPy's, and that of a full disk."""
    try:
        yield
    except OSError as error:
        if error.filename is not None:
            raise
        raise CommandError(f"{path}: {error.strerror or error}") from error


def add_verb(
    subparsers: Subparsers, name: str, summary: str, description: str, examples: str
) -> Parser:
    """Declare a verb. `examples`: command lines and what they are for, shown under its help."""
    return subparsers.add_parser(
        name,
        help=summary,
        description=textwrap.dedent(description).strip(),
        epilog="examples:\n" + textwrap.indent(textwrap.dedent(examples).strip(), "  "),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_dir(parser: argparse.ArgumentParser) -> None:
    """Declare `--dir`."""
    parser.add_argument(
        "--dir",
        required=True,
        metavar="DIR",
        help="the SavedModel: its directory, a directory of numbered versions, or an archive",
    )


def add_tag_set(parser: argparse.ArgumentParser, *, required: bool = False) -> None:
    """Declare `--tag_set`: the tags as a list, or None."""
    parser.add_argument(
        "--tag_set",
        required=required,
        type=tag_set,
        metavar="TAGS",
        help="the tags of a MetaGraph, all of them, separated by ','",
    )


def add_signature_def(parser: argparse.ArgumentParser, *, required: bool = False) -> None:
    """Declare `--signature_def`."""
    parser.add_argument(
        "--signature_def",
        required=required,
        type=model_name,
        metavar="KEY",
        help="the key of a signature",
    )


def add_flag(parser: Parser, name: str, help_text: str) -> None:
    """Declare a switch as `saved_model_cli` takes it: `--name`, `--noname`, `--name=true`."""
    parser.flags.add(f"--{name}")
    switch = parser.add_mutually_exclusive_group()
    switch.add_argument(f"--{name}", action="store_true", help=help_text)
    switch.add_argument(
        f"--no{name}",
        dest=name.replace("-", "_"),
        action="store_false",
        default=False,
        help=argparse.SUPPRESS,
    )


def tag_set(text: str) -> list[str]:
    """Return the tags of "serve,gpu", without spaces around them and without empty ones."""
    return [tag for tag in map(str.strip, model_name(text).split(",")) if tag]


def model_name(text: str) -> str:
    """Return a name that a model may have: as an argparse type, it refuses what is not UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError(f"not UTF-8: {text!a}") from None
    return text


def whole_number(least: int) -> Callable[[str], int]:
    """Return the argparse type of a whole number that is not under `least`."""

    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if number < least:
            raise argparse.ArgumentTypeError(f"not a whole number from {least} on: {text!r}")
        return number

    return parse
