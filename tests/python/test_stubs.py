"""The type stubs are those of the compiled module, and the sources pass their checkers."""

from __future__ import annotations

import subprocess
import sys

import pytest

from conftest import ROOT


@pytest.mark.parametrize(
    "command",
    [
        ["python/bindings/generate_stubs.py", "--check"],
        ["-m", "mypy"],
        ["-m", "ruff", "check", "--no-cache", "."],
        ["-m", "ruff", "format", "--no-cache", "--check", "."],
    ],
    ids=lambda command: " ".join(command[:3]),
)
def test_checker(command: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_clang_format() -> None:
    sources = [
        str(path)
        for folder in ("cpp", "python/bindings", "tests/cpp", "tests/cmake", "examples")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in {".h", ".cc"}
    ]
    assert sources
    done = subprocess.run(
        ["clang-format", "--dry-run", "-Werror", *sources],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
