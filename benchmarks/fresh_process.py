"""Programs in processes of their own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.native import ROOT


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
