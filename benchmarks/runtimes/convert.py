"""Converts SavedModels for other runtimes, by the commands of their makers, and for our own."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import fresh_process, native
from benchmarks.fresh_process import Progress
from benchmarks.runtimes.models import FOLDER, authors_file, export_dir

OPTIMIZED = ".optimized"  # a SavedModel, as `Model.save_optimized` writes it
FORMATS = (".onnx", ".tflite", OPTIMIZED)
LONGEST_REASON = 240
_ERROR = re.compile(r"[Ee]rror: ")
OPSET = 18  # the newest that tf2onnx writes


class NoConversionError(RuntimeError):
    """The converter refuses the model. The message is its own."""


def converted(name: str, extension: str) -> Path:
    """The converted model: its authors' own, where there is one, or else that of `prepare`.

    NoConversionError if there is none.
    """
    file = authors_file(name, extension) or _file(name, extension)
    failed = _failed(file)
    if failed.exists():
        raise NoConversionError(f"does not convert: {failed.read_text()}")
    return file


def _file(name: str, extension: str) -> Path:
    return FOLDER / "converted" / f"{name}{extension}"


def _failed(file: Path) -> Path:
    """Where the reason is kept that there is no such file."""
    return file.with_name(f"{file.name}.failed")


def prepare(names: Sequence[str], progress: Progress) -> None:
    """Convert those models that are not converted yet, each in a process of its own."""
    (FOLDER / "converted").mkdir(parents=True, exist_ok=True)
    for name in names:
        for extension in FORMATS:
            if authors_file(name, extension) is not None:
                continue
            file = _file(name, extension)
            failed = _failed(file)
            # What this package writes changes with the package.
            if extension != OPTIMIZED and _is_newer(export_dir(name), file, failed):
                continue
            progress(f"{name}: converting to {extension}")
            failed.unlink(missing_ok=True)
            try:
                fresh_process.run(_command(export_dir(name), file))
            except RuntimeError as error:
                failed.write_text(reason(str(error)))


def _is_newer(source: Path, *files: Path) -> bool:
    made = (source / "saved_model.pb").stat().st_mtime
    return any(file.exists() and file.stat().st_mtime > made for file in files)


def _command(source: Path, target: Path) -> list[str | Path]:
    if target.suffix == OPTIMIZED:
        command = native.installed_command("savedmodel")
        return [command, "freeze", "--overwrite", "--dir", source, "--output_dir", target]
    if target.suffix == ".onnx":
        return [
            *(sys.executable, "-m", "tf2onnx.convert", "--saved-model", source, "--output", target),
            *("--tag", "serve", "--signature_def", "serving_default", "--opset", str(OPSET)),
        ]
    # With the default settings: float32, and ops of LiteRT's own.
    command = native.installed_command("tflite_convert")
    return [command, "--saved_model_dir", source, "--output_file", target]


def reason(message: str) -> str:
    """What a traceback or a log comes to: what follows the last line that names an error, cut."""
    lines = [line.strip() for line in message.strip().splitlines() if line.strip()]
    last = max((i for i, line in enumerate(lines) if _ERROR.search(line)), default=-1)
    return " ".join(lines[last:])[:LONGEST_REASON] if lines else "without a word"
