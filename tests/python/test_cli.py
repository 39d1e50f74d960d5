"""The command."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import savedmodel
from conftest import DIGITS, SOON
from savedmodel import cli

VERBS = tuple(verb.__name__.rpartition(".")[2] for verb in cli._VERBS)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "savedmodel", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=SOON,
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
    printed = run("--help").stdout
    assert all(f"\n    {verb} " in printed for verb in VERBS)
    assert run().returncode == 2


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_a_verb_has_examples(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_status:
        cli.main([verb, "--help"])
    assert exit_status.value.code == 0
    printed = capsys.readouterr().out
    examples = printed.split("\nexamples:\n")[1].splitlines()
    assert any(line.startswith(f"  savedmodel {verb}") for line in examples)
    assert all(len(line) <= 100 for line in examples)


def test_completion(tmp_path: Path) -> None:
    script = tmp_path / "savedmodel.bash"
    script.write_text(run("--print-completion", "bash").stdout)
    completed = """
        source "$1"
        COMP_WORDS=(savedmodel ''); COMP_CWORD=1
        $(complete -p savedmodel | sed 's/.*-F \\([^ ]*\\).*/\\1/') savedmodel '' savedmodel
        echo "${COMPREPLY[@]}"
    """
    words = subprocess.run(
        ["bash", "-c", completed, "bash", str(script)], capture_output=True, text=True, check=True
    ).stdout.split()
    assert set(VERBS) <= set(words)


@pytest.mark.parametrize(
    "arguments", [["nope"], ["demo", "--digits", "x"], ["--cmake-dir", "demo"]]
)
def test_wrong_usage(arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert "usage:" in done.stderr


@pytest.mark.parametrize(
    ("verb", "option"),
    [
        ("run", "--signature_def"),
        ("run", "--fetch"),
        ("freeze", "--signature_def"),
        ("scan", "--op_denylist"),
        ("show", "--tag_set"),
    ],
)
def test_names_that_are_not_utf8(
    verb: str, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_status:
        cli.main([verb, "--dir", str(DIGITS), option, os.fsdecode(b"\xff")])
    assert exit_status.value.code == 2
    assert f"argument {option}: not UTF-8: '\\udcff'" in capsys.readouterr().err


@pytest.mark.parametrize(("model", "status"), [(DIGITS, 0), ("absent", 1)])
def test_without_standard_streams(model: Path | str, status: int) -> None:
    """Nothing is written, and an error does not end up in the other stream."""
    for closed in ("1", "2"):
        done = subprocess.run(
            [
                *("bash", "-c", f'exec "$@" {closed}>&-', "bash", sys.executable),
                *("-m", "savedmodel", "show", "--dir", str(model)),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == status
        assert bool(done.stdout) == (status == 0 and closed == "2")
        assert bool(done.stderr) == (status == 1 and closed == "1")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full disk")
@pytest.mark.parametrize(
    "arguments", [["bench", "--duration", "0.1", "--json"], ["profile", "--trace"]]
)
def test_full_disk(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    verb, *options = arguments
    call = [verb, "--dir", str(DIGITS), "--signature_def", "serve", *options, "/dev/full"]
    assert cli.main(call) == 1
    assert "error: /dev/full: No space left on device" in capsys.readouterr().err
