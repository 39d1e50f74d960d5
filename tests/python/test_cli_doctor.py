"""`savedmodel doctor` and `savedmodel.diagnose`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import savedmodel
from conftest import DIGITS, generate_models, run_python
from savedmodel import cli
from savedmodel.cli.arguments import FAILED, FOUND, WRONG_USAGE
from savedmodel.diagnosis import Diagnosis

UNREGISTERED = "not an op of TensorFlow"

# Of tests/models/broken.py -> the one error, its subject and what its message says.
ERRORS = {
    "missing_variables": ("unreadable_checkpoint", "", "variables.index' does not exist"),
    "missing_shard": ("unreadable_checkpoint", "", "cannot read"),
    "truncated_shard": ("unreadable_checkpoint", "", "holds 8 bytes, expected"),
    "garbage_index": ("unreadable_checkpoint", "", "not an sstable"),
    "truncated_index": ("unreadable_checkpoint", "", ""),
    "huge_string": ("unreadable_checkpoint", "", ""),
    "negative_slice": ("unreadable_checkpoint", "", "a slice that leaves the tensor"),
    "missing_key": ("missing_key", "weight/.ATTRIBUTES/VARIABLE_VALUE", "not in the checkpoint"),
    "wrong_shape": ("mismatched_variable", "", "expected float of shape [3,2]"),
    "wrong_dtype": ("mismatched_variable", "", "is double of shape [3,2]"),
    "unfilled_variable": ("unrestored_variable", "weight", "signature 'serving_default'"),
    "absent_device": ("absent_device", "/device:GPU:7", "allow_soft_placement"),
    "unknown_op": ("unregistered_op", "NoSuchOp", UNREGISTERED),
    "unknown_op_in_function": ("unregistered_op", "NoSuchOp", UNREGISTERED),
    "missing_function": ("missing_function", None, "not in the function library"),
    "no_cpu_kernel": ("no_kernel", "NcclAllReduce", "no kernel on CPU"),
    "no_kernel_for_dtype": ("no_kernel", "Transpose", "for T=qint8"),
    "dangling_input": ("broken_graph", "", "takes its input from 'nobody'"),
    "wrong_constant_size": ("broken_graph", "weight", "a constant whose data"),
    "child_out_of_range": ("broken_graph", "", "object graph: "),
    "signature_of_absent_tensor": ("broken_signature", "", "no tensor 'nowhere:0'"),
    "invalid_dtype": ("broken_signature", "", "dtype 9999"),
    "missing_asset": ("missing_asset", "vocabulary.txt", "the init op reads it"),
    "asset_outside": ("broken_asset", "", "leaves the assets folder"),
}

# Of tests/models/ailing.py -> the only problem.
AILING = {
    "newer_consumer": ("error", "version", "", "min consumer version 99999 above"),
    "bad_consumer": ("error", "version", "", "disallows consumer version"),
    "newer_producer": ("warning", "version", "", "producer 99999"),
    "dead_op": ("warning", "unregistered_op", "NoSuchOp", UNREGISTERED),
    "odd_op": ("error", "unregistered_op", "No\x1b[31mSuch\nOp", UNREGISTERED),
    "worker_in_function": (
        "error",
        "absent_device",
        "/job:worker/replica:0/task:1/device:CPU:0",
        "not a device of this machine",
    ),
    "gpu_in_function": ("warning", "absent_device", "/device:GPU:7", "inlines the function"),
    "gpu_in_function_of_its_own": ("error", "absent_device", "/device:GPU:7", "not a device"),
    "unknown_op_in_uncalled_function": (
        "warning",
        "unregistered_op",
        "NoSuchOp",
        "in functions that no signature calls",
    ),
    "leftover_key": ("warning", "unread_key", "leftover", "(8 bytes)"),
    "reads_file": ("warning", "dangerous_op", "ReadFile", "reads files"),
    "variable_of_a_function": ("warning", "unrestored_variable", "weight", "functions only"),
}


@pytest.fixture(scope="module")
def ailing_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the models of tests/models/ailing.py."""
    return generate_models("ailing.py", tmp_path_factory.mktemp("ailing"))


def saved_models(folder: Path) -> list[Path]:
    return sorted({file.parent for file in folder.rglob("saved_model.pb*")})


def test_no_false_alarm(models: Path) -> None:
    """What TensorFlow saved as it was, and runs here, is healthy."""
    paths = saved_models(models)
    assert len(paths) > 100
    problems = {
        (path.parent.name, problem.kind, problem.subject)
        for path in paths
        for problem in savedmodel.diagnose(path).problems
    }
    assert problems == {("tables_and_assets", "dangerous_op", "ReadFile")}


def test_foretells_the_load_report(models: Path) -> None:
    names = ("unused_variables", "sharded_variables", "tf1_partitioned_variables", "keras_lstm")
    paths = [models / name / "saved_model" for name in names]
    for path in [*paths, *saved_models(models / "object_graphs"), *saved_models(models / "guide")]:
        diagnosis = savedmodel.diagnose(path)
        with savedmodel.load(path) as model:
            report = model.load_report
        assert diagnosis.memory.weights == report.bytes_restored, path
        assert diagnosis.memory.signature_weights <= diagnosis.memory.weights
        assert diagnosis.repairs == report.repairs, path
        if report.bytes_saved:
            saved = diagnosis.memory.checkpoint - diagnosis.memory.weights
            assert saved == report.bytes_saved


def test_says_what_is_there() -> None:
    diagnosis = savedmodel.diagnose(DIGITS)
    assert isinstance(diagnosis, Diagnosis)
    assert diagnosis.path == str(DIGITS)
    assert diagnosis.tags == ["serve"]
    assert diagnosis.runtime_version == diagnosis.tensorflow_version == "2.21.0"
    assert diagnosis.min_consumer <= diagnosis.consumer == diagnosis.producer
    assert "CPU:0" in diagnosis.devices
    memory = diagnosis.memory
    assert 0 < memory.signature_weights <= memory.weights < memory.checkpoint
    assert 0 < memory.constants < memory.graph < (DIGITS / "saved_model.pb").stat().st_size
    assert diagnosis.problems == diagnosis.errors == diagnosis.warnings == diagnosis.repairs == []


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name: str, broken_models: Path) -> None:
    kind, subject, message = ERRORS[name]
    (problem,) = savedmodel.diagnose(broken_models / name / "saved_model").errors
    assert problem.kind == kind
    if subject is not None:
        assert problem.subject == subject
    assert message in problem.message
    assert "\n" not in problem.message
    in_graph = ("unregistered_op", "missing_function", "no_kernel", "absent_device")
    assert bool(problem.nodes) == (kind in in_graph or name == "wrong_constant_size")
    assert {node.use for node in problem.nodes} <= {"called"}


def test_any_broken_model_is_survived(broken_models: Path) -> None:
    """In a process of its own, for what would end it; too broken to read is an exception."""
    done = run_python(
        """
import sys
from pathlib import Path
import savedmodel

for folder in sorted(Path(sys.argv[1]).iterdir()):
    if folder.is_dir():
        try:
            errors = savedmodel.diagnose(folder / "saved_model").errors
            print(folder.name, *(problem.kind for problem in errors))
        except savedmodel.SavedModelError as error:
            print(folder.name, type(error).__name__)
""",
        str(broken_models),
    )
    assert done.returncode == 0, done.stderr
    outcomes = {name: rest for name, *rest in map(str.split, done.stdout.splitlines())}
    assert outcomes["truncated_proto"] == ["DataLossError"]
    assert outcomes["no_proto"] == ["NotFoundError"]
    assert outcomes["recursive_function"] == ["InvalidArgumentError"]
    # Legal.
    assert outcomes["object_that_holds_itself"] == []


@pytest.mark.parametrize("name", AILING)
def test_ailing_models(name: str, ailing_models: Path) -> None:
    severity, kind, subject, message = AILING[name]
    problems = savedmodel.diagnose(ailing_models / name).problems
    if name == "variable_of_a_function":
        # The restore function is dead, too, and so are the keys that it reads.
        assert [problem.kind for problem in problems if problem.kind != kind] == [
            "dangerous_op",
            "unread_key",
        ]
        problems = [problem for problem in problems if problem.kind == kind]
    (problem,) = problems
    assert (problem.severity, problem.kind, problem.subject) == (severity, kind, subject)
    assert message in problem.message


@pytest.mark.parametrize(
    "name", [name for name, (severity, *_) in AILING.items() if severity == "error"]
)
def test_errors_come_true(name: str, ailing_models: Path) -> None:
    x = np.ones((1, 3), np.float32)
    with pytest.raises(savedmodel.SavedModelError), savedmodel.load(ailing_models / name) as model:
        model.signatures["serving_default"](x=x)


def test_gpu_in_function_that_is_inlined(ailing_models: Path) -> None:
    with savedmodel.load(ailing_models / "gpu_in_function") as model:
        model.signatures["serving_default"](x=np.ones((1, 3), np.float32))


def test_places(ailing_models: Path) -> None:
    (problem,) = savedmodel.diagnose(ailing_models / "dead_op").problems
    (node,) = problem.nodes
    assert (node.name, node.op, node.function, node.use) == ("op", "NoSuchOp", "unused", "dead")


def test_sound_models_that_look_ailing(ailing_models: Path) -> None:
    assert savedmodel.diagnose(ailing_models / "two_meta_graphs").problems == []
    train = savedmodel.diagnose(ailing_models / "two_meta_graphs", "train")
    assert train.tags == ["train"]
    assert train.problems == []
    keras = savedmodel.diagnose(ailing_models / "keras")
    assert keras.problems == []
    assert len(keras.repairs) == 2


def test_archive(tmp_path: Path) -> None:
    archive = shutil.make_archive(str(tmp_path / "digits"), "zip", DIGITS)
    diagnosis = savedmodel.diagnose(archive)
    assert diagnosis.path == archive
    assert diagnosis._replace(path="") == savedmodel.diagnose(DIGITS)._replace(path="")


def test_command_on_a_healthy_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", str(DIGITS)]) == 0
    printed = capsys.readouterr().out
    assert "healthy" in printed
    assert "weights    76.7 kB for the signatures" in printed
    assert cli.main(["doctor", "--dir", str(DIGITS), "--tag_set", "serve"]) == 0
    assert capsys.readouterr().out == printed


def test_command_on_an_ailing_model(
    ailing_models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["doctor", str(ailing_models / "dead_op")]) == FOUND
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:4] == [
        "1 warning",
        "  unknown op 'NoSuchOp': not an op of TensorFlow 2.21.0: one of a custom library, or of "
        "another version",
        "    node 'op' of function 'unused', which nothing calls",
    ]
    assert cli.main(["doctor", str(ailing_models / "odd_op")]) == FOUND
    printed = capsys.readouterr().out
    assert "1 error: " in printed
    assert r"unknown op 'No\x1b[31mSuch\nOp'" in printed
    assert cli.main(["doctor", str(ailing_models / "keras")]) == 0
    assert "2 variables that the restore op forgets" in capsys.readouterr().out


def test_command_shortens_long_lists(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from savedmodel.cli.doctor import _print_text
    from savedmodel.diagnosis import Problem
    from savedmodel.inspection import NodeInfo

    nodes = [NodeInfo(f"node_{i}", "Op", "", "called", {}, {}) for i in range(1005)]
    problems = [Problem("error", "no_kernel", f"Op{i}", "none", nodes) for i in range(12)]
    _print_text(savedmodel.diagnose(DIGITS)._replace(problems=problems))
    printed = capsys.readouterr().out
    assert "12 errors" in printed
    assert printed.count("and 1,002 more") == 10
    assert "op without a kernel: and 2 more" in printed


def test_json(ailing_models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = ailing_models / "reads_file"
    assert cli.main(["doctor", str(path), "--format", "json"]) == FOUND
    report = json.loads(capsys.readouterr().out)
    diagnosis = savedmodel.diagnose(path)
    assert list(report) == list(diagnosis._fields)
    (problem,) = report["problems"]
    assert problem["kind"] == "dangerous_op"
    assert problem["nodes"][0]["op"] == "ReadFile"
    assert report["memory"] == diagnosis.memory._asdict()


@pytest.mark.parametrize(
    ("name", "status"), [("truncated_proto", FAILED), ("no_serve_tag", FAILED)]
)
def test_command_on_what_cannot_be_read(
    name: str, status: int, broken_models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["doctor", str(broken_models / name / "saved_model")]) == status
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("savedmodel: error: ")
    assert printed.err.count("\n") == 1


@pytest.mark.parametrize("arguments", [[], ["a", "--dir", "b"]])
def test_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_status:
        cli.main(["doctor", *arguments])
    assert exit_status.value.code == WRONG_USAGE
    assert "usage:" in capsys.readouterr().err
