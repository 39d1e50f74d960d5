"""`savedmodel scan`: what it finds, where, and what it passes over."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import savedmodel
import savedmodel.inspection
from conftest import DIGITS
from savedmodel.cli import main
from savedmodel.cli.arguments import FAILED, FOUND
from savedmodel.dangerous_ops import DANGEROUS_OPS

# Model -> op, beginning of the function's name, what runs it.
FINDINGS = {
    "while_body": [("ReadFile", "while_body", "called")],
    "branch": [("WriteFile", "cond_true", "called")],
    "python_callbacks": [
        ("EagerPyFunc", "__inference_python_callbacks", "called"),
        ("PyFunc", "__inference_python_callbacks", "called"),
    ],
    "printing": [("PrintV2", "__inference_printing", "called")],
    "dataset_function": [("ReadFile", "__inference_Dataset_map", "called")],
    "checkpoint_reader": [("RestoreV2", "__inference_checkpoint_reader", "called")],
    "table_of_any_file": [
        ("InitializeTableFromTextFileV2", "__inference_table_of_any_file", "called")
    ],
    "table_of_a_file_of_the_caller": [
        ("InitializeTableFromTextFileV2", "__inference_initialize", "called")
    ],
    "table_of_an_input": [
        ("InitializeTableFromTextFileV2", "__inference_table_of_an_input", "called")
    ],
    "cache_in_a_file": [("CacheDatasetV2", "__inference_cache_in_a_file", "called")],
    "write_in_the_restore_op": [
        ("PrintV2", "__inference_printing", "called"),
        ("RestoreV2", "__inference__traced_restore", "restore"),
        ("SaveV2", "__inference__traced_restore", "restore"),
    ],
    "join_in_the_restore_op": [
        ("PrintV2", "__inference_printing", "called"),
        ("RestoreV2", "__inference__traced_restore", "restore"),
    ],
    "add_unreachable_function": [
        ("PrintV2", "__inference_printing", "called"),
        ("PrintV2", "uncalled", "dead"),
    ],
}

HARMLESS_MODELS = [
    "keras_cnn",
    "mutable_table",
    "tf1_legacy_init_op",
    "tf1_partitioned_variables",
    "tf1_sharded_saver",
    "two_assets_same_name",
    "vocabulary_asset",
]

# Parts of the names of ops in the table, and the ops that are called so and are harmless.
DANGEROUS_NAMES = [
    "Abort",
    "Checkpoint",
    "Collective",
    "DataService",
    "DebugIdentity",
    "DumpTensor",
    "File",
    "LMDB",
    "Print",
    "PyFunc",
    "Restore",
    "Rpc",
    "Save",
    "Sleep",
    "Snapshot",
    "Sql",
    "TFRecord",
]
HARMLESS_OPS = {
    "ReaderRestoreState",
    "ReaderRestoreStateV2",
    "ShardedFilename",
    "ShardedFilespec",
    "Snapshot",
}


@pytest.mark.parametrize("name", FINDINGS)
def test_findings(dangerous_models: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(dangerous_models / name)
    assert main(["scan", "--dir", path, "--format", "json"]) == FOUND
    (meta_graph,) = json.loads(capsys.readouterr().out)
    assert meta_graph["tags"] == ["serve"]
    # Functions stand in no order.
    findings = sorted(meta_graph["findings"], key=lambda each: (each["op"], each["use"]))
    for finding, (op, function, use) in zip(findings, FINDINGS[name], strict=True):
        assert (finding["op"], finding["use"]) == (op, use)
        assert finding["why"] == DANGEROUS_OPS[op]
        assert finding["function"].startswith(function)


def test_text(dangerous_models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scan", "--dir", str(dangerous_models / "branch")]) == FOUND
    first, second = capsys.readouterr().out.splitlines()
    # saved_model_cli does not look into branches, and says that there is none.
    assert first == (
        "MetaGraph with tag set ['serve'] contains the following denylisted ops: {'WriteFile'}"
    )
    assert second.startswith(
        "  WriteFile (writes files): node 'cond/WriteFile' of function 'cond_true_"
    )
    main(["scan", "--dir", str(dangerous_models / "add_unreachable_function")])
    assert capsys.readouterr().out.endswith("of function 'uncalled', which nothing calls\n")


@pytest.mark.parametrize("name", HARMLESS_MODELS)
def test_ordinary_models_are_clean(models: Path, name: str) -> None:
    assert main(["scan", "--dir", str(models / name / "saved_model")]) == 0


def test_an_ordinary_model_has_what_is_passed_over(models: Path) -> None:
    path = models / "vocabulary_asset" / "saved_model"
    (meta_graph,) = savedmodel.inspect(path, list_nodes=DANGEROUS_OPS).meta_graphs
    assert {(node.op, node.use) for node in meta_graph.nodes} == {
        ("InitializeTableFromTextFileV2", "called"),
        ("MergeV2Checkpoints", "save"),
        ("RestoreV2", "restore"),
        ("SaveV2", "save"),
    }


@pytest.mark.parametrize(
    ("name", "end"),
    [
        ("branch", ", with '/etc/motd'"),
        ("table_of_any_file", ", with '/etc/passwd'"),
        ("table_of_a_file_of_the_caller", ", with '/etc/passwd'"),
        ("cache_in_a_file", ", with '/tmp/" + ("long" * 18) + "...'"),
    ],
)
def test_files_that_stand_in_the_graph(
    dangerous_models: Path, name: str, end: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["scan", "--dir", str(dangerous_models / name)]) == FOUND
    assert capsys.readouterr().out.splitlines()[1].endswith(end)


def test_doctor_judges_alike(dangerous_models: Path) -> None:
    for name in FINDINGS:
        problems = savedmodel.diagnose(dangerous_models / name).problems
        found = [n.op for p in problems if p.kind == "dangerous_op" for n in p.nodes]
        assert sorted(found) == sorted(op for op, *_ in FINDINGS[name])


def test_a_dataset_cached_in_memory_is_ordinary(dangerous_models: Path) -> None:
    assert main(["scan", "--dir", str(dangerous_models / "cache_in_memory")]) == 0


def test_denylist(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = ["scan", "--dir", str(models / "tf1_two_tag_sets" / "saved_model")]
    assert main([*chosen, "--tag_set", "gpu,serve", "--op_denylist", " AddV2 ,"]) == FOUND
    first, initializer, second = capsys.readouterr().out.splitlines()
    assert first.endswith("['serve', 'gpu'] contains the following denylisted ops: {'AddV2'}")
    assert initializer.endswith(", which nothing calls")
    assert second == "  AddV2 (denylisted): node 'add'"
    # The saver's own ops, when somebody asks for them.
    assert main([*chosen, "--op_denylist", "RestoreV2"]) == FOUND
    assert main([*chosen, "--op_denylist", "NoSuchOp"]) == 0
    assert main([*chosen, "--tag_set", "nope"]) == FAILED


def test_hostile_names_are_escaped(
    dangerous_models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(dangerous_models / "name_with_control_characters")
    for options in ([], ["--format", "json"], ["--op_denylist", "\x1b]0;title\x07\n\u202e\x7f"]):
        assert main(["scan", "--dir", path, *options]) == FOUND
        printed = capsys.readouterr().out
        assert all(each.isprintable() for each in printed.splitlines())
        assert "title" in printed


def test_archives_and_versions(tmp_path: Path) -> None:
    def nodes(path: Path | str) -> list[savedmodel.inspection.NodeInfo]:
        (meta_graph,) = savedmodel.inspect(path, list_nodes=["Conv2D"]).meta_graphs
        return list(meta_graph.nodes)

    shutil.copytree(DIGITS, tmp_path / "versions" / "3")
    here = nodes(DIGITS)
    assert [node.op for node in here] == ["Conv2D"] * len(here) != []
    assert nodes(tmp_path / "versions") == here
    assert nodes(shutil.make_archive(str(tmp_path / "digits"), "zip", DIGITS)) == here


def test_the_table_is_of_registered_ops(dangerous_models: Path) -> None:
    """A new TensorFlow may bring ops that belong into the table."""
    registered = set((dangerous_models / "ops.txt").read_text().split())
    assert set(DANGEROUS_OPS) <= registered
    alike = {op for op in registered if any(name in op for name in DANGEROUS_NAMES)}
    assert alike - set(DANGEROUS_OPS) == HARMLESS_OPS
