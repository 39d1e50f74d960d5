"""The command."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import savedmodel


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "savedmodel", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_demo_classifies_real_digits() -> None:
    done = run("demo", "--rounds", "200")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    # The accuracy that TensorFlow itself gets on the held-out digits.
    assert "355/360 (98.6%)" in done.stdout
    assert re.search(r"median, .* p99", done.stdout)
    assert "0 tensors, 0 bytes" in done.stdout
    assert done.stdout.rstrip().endswith("TensorFlow's Python package was not imported.")
    assert max(map(len, done.stdout.splitlines())) < 80


def test_folders() -> None:
    assert (Path(run("--cmake-dir").stdout.strip()) / "savedmodelConfig.cmake").is_file()
    assert (Path(run("--include-dir").stdout.strip()) / "savedmodel" / "model.h").is_file()


def test_version_and_help() -> None:
    assert run("--version").stdout == f"savedmodel {savedmodel.__version__}\n"
    assert "demo" in run("--help").stdout
    assert run().returncode == 2


@pytest.mark.parametrize(
    "arguments", [["nope"], ["demo", "--digits", "x"], ["--cmake-dir", "demo"]]
)
def test_wrong_usage(arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert "usage:" in done.stderr
