"""Programs in processes of their own, and what they need: models, turns, warm files."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks.native import BUILD, ROOT

KERAS_MODELS = BUILD / "keras-models"

Progress = Callable[[str], None]


def run(command: Sequence[str | Path]) -> str:
    """What the command prints to its standard output. RuntimeError, with the rest, if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))} failed:\n{done.stderr}")
    return done.stdout


def run_python(arguments: Sequence[str | Path]) -> str:
    """The last line that Python prints with these arguments."""
    return run([sys.executable, *arguments]).strip().splitlines()[-1]


def make_once(script: Path, complete: Path, arguments: Sequence[str | Path]) -> None:
    """Run a script that writes the file `complete` last, unless it has since it was changed."""
    if complete.exists() and complete.stat().st_mtime > script.stat().st_mtime:
        return
    run([sys.executable, script, *arguments])


def export_keras_models(models: Sequence[str], progress: Progress) -> None:
    """Write those models of Keras Applications that are not in `KERAS_MODELS` yet."""
    KERAS_MODELS.mkdir(parents=True, exist_ok=True)
    script = Path(__file__).with_name("keras_models.py")
    for model in models:
        progress(f"exporting {model}")
        make_once(script, KERAS_MODELS / f"{model}.json", [KERAS_MODELS, model])


def turns(rounds: int) -> Iterator[tuple[int, Callable[[Sequence[str]], list[str]]]]:
    """The number of each round, and what puts things in another order each time.

    Round 0, which does not count, brings the programs and their libraries into the page cache.
    """
    generator = random.Random(0)
    for turn in range(rounds + 1):
        yield turn, lambda names: generator.sample(names, len(names))


def fill_page_cache(model: Path) -> None:
    """Read all files of a model once."""
    for file in model.rglob("*"):
        if file.is_file():
            file.read_bytes()
