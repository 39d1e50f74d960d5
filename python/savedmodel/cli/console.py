"""Writing to the terminal: names are escaped, tables and colours are rich's."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

# C0 and C1 control characters, DEL, the separators that end a line, and the marks that reorder
# text: names come from a file that anybody may have written, and a terminal obeys them.
_UNSAFE = {
    code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
    for code in (
        *range(0x20),
        *range(0x7F, 0xA0),
        0x200E,
        0x200F,
        *range(0x2028, 0x202F),
        *range(0x2066, 0x206A),
    )
}
_UNSAFE |= {ord("\n"): "\\n", ord("\r"): "\\r", ord("\t"): "\\t"}


def escaped(text: str) -> str:
    r"""Return `text`, a name for one, with its control characters as Python writes them: "\x1b"."""
    return text.translate(_UNSAFE)


def warn(message: str) -> None:
    """Write a warning to standard error, as one line."""
    print(f"savedmodel: warning: {one_line(message)}", file=sys.stderr)


def one_line(message: str) -> str:
    """Return a message as one line without control characters."""
    return escaped(" ".join(message.split()))


def json_text(data: object) -> str:
    """Return `data` as indented JSON in which no control character stands as it is."""
    import json

    # DEL is the one that JSON counts as ASCII and does not escape.
    return json.dumps(data, indent=2).replace("\x7f", "\\u007f")


def console(*, stderr: bool = False) -> Console:
    """Return a rich console for standard output, or for standard error.

    rich is imported here: it takes longer than `savedmodel show`. Names go into rich's renderables
    as `rich.text.Text(escaped(name))`, never as markup.
    """
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, markup=False)


def size_text(count: int) -> str:
    """Return a number of bytes as a person reads it: "76.7 kB"."""
    from rich.filesize import decimal

    return decimal(count)


def shape_text(shape: Sequence[int | None] | None) -> str:
    """Return a shape with "?" for unknown sizes: "(?, 3)"."""
    if shape is None:
        return "of unknown rank"
    return "(" + ", ".join("?" if size is None else str(size) for size in shape) + ")"
