"""`savedmodel demo`: classify handwritten digits with the SavedModel that ships in this package."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from savedmodel.cli.arguments import add_verb, whole_number

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from savedmodel.cli.arguments import Subparsers

_DATA = Path(__file__).resolve().parent.parent / "data"

_PIXEL_MAX = 16
_TILE = 12  # Columns of a drawn digit: six fit side by side in 80.
_TILES_IN_ROW = 6
_MARGIN = "  "
_INK = 7.0  # From this pixel value on, a drawing without colours is inked.
_WARM_UP = 50


@dataclass(frozen=True)
class _Glyphs:
    """What a drawing is made of; `halves` are: neither half inked, upper, lower, both."""

    halves: str
    arrow: str
    micro: str


_UNICODE = _Glyphs(" ▀▄█", "→", "µ")
_ASCII = _Glyphs(" ^.#", "->", "u")


@dataclass(frozen=True)
class _Style:
    """How to write to one stream."""

    glyphs: _Glyphs
    colour: bool

    @classmethod
    def of(cls, stream: TextIO) -> _Style:
        """Return what `stream` can show: its encoding decides the glyphs, a tty has colours."""
        try:
            "".join((_UNICODE.halves, _UNICODE.arrow, _UNICODE.micro)).encode(stream.encoding)
            glyphs = _UNICODE
        except (UnicodeEncodeError, LookupError, TypeError):
            glyphs = _ASCII
        plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
        # Greyscale paints the two halves of one Unicode half block.
        return cls(glyphs, colour=glyphs is _UNICODE and stream.isatty() and not plain)

    def paint(self, text: str, code: str) -> str:
        """Return `text` in the ANSI rendition `code`, or as it is without colours."""
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour and text else text


def add_parser(subparsers: Subparsers) -> None:
    """Declare the verb `demo`."""
    parser = add_verb(
        subparsers,
        "demo",
        "classify handwritten digits with a small SavedModel that is included",
        """
        Classify handwritten digits with a small SavedModel that is included: draw some, and print
        accuracy, load time, latency and bytes copied.
        """,
        """
        savedmodel demo
        savedmodel demo --digits 0 --rounds 10000    # only the figures, of more calls
        """,
    )
    parser.add_argument(
        "--digits",
        type=whole_number(0),
        default=2 * _TILES_IN_ROW,
        metavar="N",
        help="how many digits to draw (default: %(default)s)",
    )
    parser.add_argument(
        "--rounds",
        type=whole_number(1),
        default=1000,
        metavar="N",
        help="how many single-image calls to time (default: %(default)s)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the demo. Returns 0, or 1 if TensorFlow's Python package was imported."""
    import numpy as np

    import savedmodel

    with np.load(_DATA / "digits_test.npz") as held_out:
        images, labels = held_out["images"], held_out["labels"]

    start = time.perf_counter_ns()
    model = savedmodel.load(_DATA / "digits")
    load_ns = time.perf_counter_ns() - start
    signature = model.signatures["serving_default"]

    # Memory aligned as the runtime wants it is read in place, and so is each image in it: one
    # image is 256 bytes, a multiple of the alignment.
    batch = savedmodel.aligned_empty((*images.shape, 1), np.float32)
    np.divide(images[..., np.newaxis], np.float32(_PIXEL_MAX), out=batch)

    copied_before = savedmodel.copy_stats()
    predictions = np.argmax(signature(image=batch)["probabilities"], axis=-1)
    calls_ns = _time_single_calls(signature, batch, args.rounds)
    copied = savedmodel.copy_stats()
    calls = 1 + _WARM_UP + args.rounds

    style = _Style.of(sys.stdout)
    total = len(labels)
    correct = int(np.sum(predictions == labels))
    chosen = _choose(predictions != labels, args.digits)

    print(f"{total} handwritten digits, none of them used in training")
    print()
    if chosen:
        for line in _draw(images, labels, predictions, chosen, style):
            print(line)
        print(f"{_MARGIN}{_caption(chosen, style)}")
        print()

    median, p99 = (float(q) / 1000 for q in np.percentile(calls_ns, (50, 99)))
    unit = f"{style.glyphs.micro}s"
    count, size = copied.count - copied_before.count, copied.bytes - copied_before.bytes
    figures = {
        "accuracy": f"{correct}/{total} ({correct / total:.1%})",
        "load": f"{load_ns / 1e6:.1f} ms",
        "one image": f"{median:.1f} {unit} median, {p99:.1f} {unit} p99, {args.rounds} calls",
        "copied": f"{count} tensors, {size} bytes, over all {calls} calls",
    }
    for name, figure in figures.items():
        print(f"{_MARGIN}{name:<11}{style.paint(figure, '1')}")
    print()

    if "tensorflow" in sys.modules:
        print(style.paint("TensorFlow's Python package WAS imported.", "1;31"))
        return 1
    print("TensorFlow's Python package was not imported.")
    return 0


def _time_single_calls(
    signature: Callable[..., object], batch: npt.NDArray[np.float32], rounds: int
) -> list[int]:
    """Return the nanoseconds of each of `rounds` calls, each with the next image of `batch`."""
    images = [batch[i : i + 1] for i in range(len(batch))]
    for i in range(_WARM_UP):
        signature(image=images[i % len(images)])
    elapsed = []
    for i in range(rounds):
        image = images[i % len(images)]
        start = time.perf_counter_ns()
        signature(image=image)
        elapsed.append(time.perf_counter_ns() - start)
    return elapsed


def _choose(wrong: npt.NDArray[np.bool_], count: int) -> list[int]:
    """Return the first `count` indices, with a wrong one for the last if none is among them."""
    chosen = list(range(min(count, len(wrong))))
    if chosen and wrong.any() and not wrong[chosen].any():
        chosen[-1] = int(wrong.argmax())
    return chosen


def _draw(
    images: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.uint8],
    predictions: npt.NDArray[np.intp],
    chosen: list[int],
    style: _Style,
) -> list[str]:
    """Return the lines that show the chosen digits, with label and prediction underneath."""
    lines = []
    for first in range(0, len(chosen), _TILES_IN_ROW):
        row = chosen[first : first + _TILES_IN_ROW]
        tiles = [_tile(images[i], style) for i in row]
        lines += [_MARGIN + " ".join(parts).rstrip() for parts in zip(*tiles, strict=True)]
        verdicts = [_verdict(int(labels[i]), int(predictions[i]), style) for i in row]
        lines += [_MARGIN + " ".join(verdicts).rstrip(), ""]
    return lines


def _tile(image: npt.NDArray[np.uint8], style: _Style) -> list[str]:
    """Return the lines of one digit, two rows of pixels in each."""
    pixels = _enlarge(image)
    pairs = [list(zip(pixels[i], pixels[i + 1], strict=True)) for i in range(0, _TILE, 2)]
    if style.colour:
        # The upper half in the foreground's grey, the lower one in the background's.
        return [
            "".join(f"\x1b[38;5;{_grey(up)};48;5;{_grey(down)}m▀" for up, down in pair) + "\x1b[0m"
            for pair in pairs
        ]
    halves = style.glyphs.halves
    return [
        "".join(halves[int(up >= _INK) + 2 * int(down >= _INK)] for up, down in pair)
        for pair in pairs
    ]


def _enlarge(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Return `image` as (_TILE, _TILE), interpolated linearly: 8x8 pixels alone look ragged."""
    import numpy as np

    size = len(image)
    centres = (np.arange(_TILE) + 0.5) * size / _TILE - 0.5
    # How near each new row or column lies to each old one.
    nearness = 1.0 - np.abs(centres.clip(0, size - 1)[:, np.newaxis] - np.arange(size))
    weights = nearness.clip(0.0)
    enlarged: npt.NDArray[np.float64] = weights @ image @ weights.T
    return enlarged


def _grey(pixel: float) -> int:
    """Return the grey of `pixel` among the 256 colours: 234, nearly black, to 255, white."""
    return 234 + round(float(pixel) / _PIXEL_MAX * 21)


def _verdict(label: int, prediction: int, style: _Style) -> str:
    """Return label and prediction as the line under one digit."""
    text = f"{label} {style.glyphs.arrow} {prediction}"
    if label == prediction:
        return style.paint(text.center(_TILE), "32")
    return style.paint(f"{text} wrong".center(_TILE), "1;31")


def _caption(chosen: list[int], style: _Style) -> str:
    """Return what the drawing shows, and that its wrong digit is there by choice if it is."""
    caption = f"label {style.glyphs.arrow} prediction"
    if chosen[-1] != len(chosen) - 1:
        caption += "; the last is one of the wrong ones, drawn on purpose"
    return caption
