"""`savedmodel show`: its own formats, its errors and hostile models.

test_cli_oracle.py compares its text with TensorFlow's.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import savedmodel
from conftest import DIGITS
from savedmodel.cli import main
from savedmodel.cli.arguments import FAILED


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["show", *arguments]) == 0
    return capsys.readouterr().out


def test_json_is_what_inspect_tells(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = models / "object_graph" / "saved_model"
    told = json.loads(shown(capsys, "--dir", str(path), "--format", "json"))
    inspection = savedmodel.inspect(path)
    assert told.keys() == inspection._asdict().keys()
    (meta_graph,), (info,) = told["meta_graphs"], inspection.meta_graphs
    assert meta_graph.keys() == info._asdict().keys() - {"signature_defs"}
    assert meta_graph["tags"] == ["serve"]
    assert meta_graph["signatures"]["serving_default"]["inputs"] == {
        "x": {"name": "serving_default_x:0", "dtype": "DT_FLOAT", "shape": [None, 2]}
    }
    assert meta_graph["ops"] == info.ops
    assert meta_graph["variables"][0] == {**info.variables[0]._asdict(), "shape": [2, 2]}
    options = meta_graph["functions"][meta_graph["root_functions"]["apply"]]
    assert [argument["type"] for argument in options[0]["arguments"]] == ["TensorSpec", "bool"]
    assert told["checkpoint"].keys() == inspection.checkpoint.keys()


def test_tree(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(models / "keras_cnn" / "saved_model")
    tree = shown(capsys, "--dir", path, "--format", "tree")
    assert "→ image  float (?, 12, 12, 3)" in tree
    # Keras numbers them in another order each time.
    assert re.search(r"_all_variables\.\d+  float32 \(3, 3, 3, 4\)", tree)
    assert "MetaGraph serve" in tree
    assert "checkpoint  21 tensors" in tree


def test_versions_and_archives(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain = shown(capsys, "--dir", str(DIGITS), "--all")
    shutil.copytree(DIGITS, tmp_path / "versions" / "7")
    assert shown(capsys, "--dir", str(tmp_path / "versions"), "--all") == plain
    archive = shutil.make_archive(str(tmp_path / "digits"), "gztar", DIGITS)
    assert shown(capsys, "--dir", archive, "--all") == plain


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tag_set", "nope"], "no MetaGraph with the tag set 'nope'; there are: 'serve'"),
        (["--tag_set", ""], "no MetaGraph with the tag set ''; there are: 'serve'"),
        (
            ["--tag_set", "serve", "--signature_def", "nope"],
            "no signature 'nope'; there are: '__saved_model_init_op', ",
        ),
    ],
)
def test_errors(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "--dir", str(DIGITS), *arguments]) == FAILED
    printed = capsys.readouterr()
    assert printed.out == ""
    assert message in printed.err
    assert printed.err.count("\n") == 1


def test_broken_models_are_one_line(
    broken_models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those that cannot be read at all say so; none crashes, whatever the format."""
    failed = set()
    for folder in sorted(broken_models.iterdir()):
        path = str(folder / "saved_model")
        for arguments in (
            ["show", "--all"],
            ["show", "--format", "json"],
            ["show", "--format", "tree"],
            ["scan"],
        ):
            status = main([*arguments, "--dir", path])
            error = capsys.readouterr().err
            if status == FAILED:
                failed.add(folder.name)
                assert error.count("\n") == 1, error
                assert path in error
            else:
                assert error == ""
    assert {"truncated_proto", "invalid_dtype"} <= failed


def test_hostile_names_are_escaped(
    dangerous_models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(dangerous_models / "name_with_control_characters")
    for arguments in (
        [],
        ["--all"],
        ["--format", "json"],
        ["--format", "tree", "--all"],
    ):
        printed = shown(capsys, "--dir", path, *arguments)
        # saved_model_cli takes back the last comma of a list so.
        assert all(line.isprintable() for line in printed.replace("\b\b", "").splitlines())
        assert "]0;title" in printed


def test_a_missing_model_and_a_closed_pipe(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "savedmodel", "show", "--dir"]
    done = subprocess.run(
        [*command, str(tmp_path / "absent")], capture_output=True, text=True, check=False
    )
    assert done.returncode == FAILED
    assert done.stderr.startswith("savedmodel: error: no such SavedModel directory")
    assert done.stderr.count("\n") == 1
    piped = f"{' '.join(command)} {DIGITS} --format json --all | head -1"
    done = subprocess.run(["bash", "-c", piped], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("{\n", "")


def test_show_imports_little() -> None:
    """Neither NumPy nor rich nor TensorFlow: each takes longer than all the rest."""
    command = [sys.executable, "-X", "importtime", "-m", "savedmodel", "show", "--dir"]
    done = subprocess.run(
        [*command, str(DIGITS), "--all"], capture_output=True, text=True, check=True
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "savedmodel.cli.show" in imported
    assert imported.isdisjoint({"numpy", "rich", "tensorflow", "ml_dtypes"})


@pytest.mark.parametrize(
    ("switch", "same"), [("--all=true", "--all"), ("--all=F", "--noall"), ("--all=1", "--all")]
)
def test_switches_with_values(switch: str, same: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "--dir", str(DIGITS), switch]) == 0
    printed = capsys.readouterr().out
    assert main(["show", "--dir", str(DIGITS), same]) == 0
    assert capsys.readouterr().out == printed
    with pytest.raises(SystemExit):
        main(["show", "--dir", str(DIGITS), "--all=maybe"])
    assert "argument --all: neither true nor false: 'maybe'" in capsys.readouterr().err


def test_help_shows_switches_without_values(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["show", "--help"])
    assert "[--all] " in capsys.readouterr().out
