"""`Model.save_optimized` and `savedmodel freeze`: the same answers, for TensorFlow too."""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import savedmodel
from conftest import DIGITS, TensorFlow
from replay import ZOO, assert_same, replay_calls
from savedmodel import cli
from steps import Raised

LONG = 30_000

Calls = Callable[[str], list[dict[str, Any]]]

# What stays a variable, with a part of the reason; everything else is frozen.
KEPT = {
    "assign_input": {
        "Variable": "AssignVariableOp_1",
        "Variable_1": "AssignVariableOp' of function",
    },
    "changing_weights": {"Variable_1": "used by", "Variable_2": "used by"},
    "counter": {"Variable": "used by AssignAddVariableOp 'AssignAddVariableOp' of function"},
    "dense_hash_table": {"MutableDenseHashTable": "a table"},
    "mutable_table": {"MutableHashTable": "a table"},
    "random_generator": {"StateVar": "used by RngReadAndSkip"},
    "tf1_counter": {"total": "used by AssignAdd 'AssignAdd'"},
    "two_assets_same_name": {"Variable": "Variable/Assign", "Variable_1": "Variable_1/Assign"},
    "variable_value": {"Variable": "AssignAddVariableOp"},
    "vocabulary_asset": {"Variable": "Variable/Assign"},
    "vocabulary_oov": {"Variable": "Variable/Assign"},
}


def freeze(source: Path, target: Path, **options: Any) -> savedmodel.OptimizeReport:
    with savedmodel.load(source, **options) as model:
        return model.save_optimized(target)


@pytest.mark.parametrize("name", ZOO)
def test_answers_of_frozen_models(name: str, models: Path, calls: Calls, tmp_path: Path) -> None:
    reports = []

    def load(tags: tuple[str, ...]) -> savedmodel.Model:
        target = tmp_path / "_".join(tags)
        reports.append(freeze(models / name / "saved_model", target, tags=tags))
        return savedmodel.load(target, tags=tags)

    replay_calls(name, calls(name), load)
    kept = {node: why for report in reports for node, why in report.variables_kept.items()}
    expected = KEPT.get(name, {})
    assert sorted(kept) == sorted(expected)
    assert all(part in kept[node] for node, part in expected.items())


@pytest.mark.parametrize("name", ZOO)
def test_tensorflow_loads_frozen_models(
    name: str, models: Path, calls: Calls, tmp_path: Path, tensorflow: TensorFlow
) -> None:
    source = models / name / "saved_model"
    inputs = [call["inputs"] for call in calls(name)]
    steps = [
        f"call(model.signatures[{call['signature']!r}], ((), inputs[{index}]))"
        for index, call in enumerate(calls(name))
    ]
    try:
        expected = tensorflow.evaluate(source, steps, {"inputs": inputs})
    except RuntimeError:
        pytest.skip("TensorFlow's Python does not load the original either")
    freeze(source, tmp_path)
    actual = tensorflow.evaluate(tmp_path, steps, {"inputs": inputs})
    for step, theirs, ours in zip(steps, expected, actual, strict=True):
        if not isinstance(theirs, Raised):
            assert_same(ours, theirs, step)


def test_what_is_written(tmp_path: Path) -> None:
    report = freeze(DIGITS, tmp_path / "frozen", signatures=["serving_default"])
    assert (report.variables_frozen, report.variables_kept) == (8, {})
    assert report.bytes_frozen > 75_000
    assert [file.name for file in (tmp_path / "frozen").iterdir()] == ["saved_model.pb"]
    (meta_graph,) = savedmodel.inspect(tmp_path / "frozen").meta_graphs
    assert list(meta_graph.signatures) == ["serving_default"]
    assert (meta_graph.num_objects, meta_graph.variables) == (0, [])
    assert "RestoreV2" not in meta_graph.ops


def test_assigned_values_are_frozen(tmp_path: Path) -> None:
    images = np.random.default_rng(0).random((2, 8, 8, 1), np.float32)
    with savedmodel.load(DIGITS) as model:
        for variable in model.trainable_variables:
            variable.assign(variable.numpy() * 0)
        model.save_optimized(tmp_path)
    with savedmodel.load(tmp_path) as frozen:
        probabilities = frozen.signatures["serving_default"](image=images)["probabilities"]
    np.testing.assert_allclose(probabilities, 0.1, rtol=1e-6)


def test_state_is_kept_and_saved(models: Path, tmp_path: Path) -> None:
    """A variable that a signature changes counts on, and starts from the value it had."""
    with savedmodel.load(models / "counter" / "saved_model") as model:
        model.signatures["add"](by=np.int64(2))
        model.save_optimized(tmp_path)
        model.signatures["add"](by=np.int64(100))
    with savedmodel.load(tmp_path) as frozen:
        assert frozen.signatures["read"]()["count"] == 7
        frozen.signatures["add"](by=np.int64(1))
        assert frozen.signatures["read"]()["count"] == 8


def test_over_itself_is_refused(tmp_path: Path) -> None:
    with savedmodel.load(DIGITS) as model:
        model.save(tmp_path)
    with (
        savedmodel.load(tmp_path) as model,
        pytest.raises(savedmodel.InvalidArgumentError, match="cannot replace the one"),
    ):
        model.save_optimized(tmp_path)
    assert savedmodel.inspect(tmp_path).meta_graphs[0].num_objects > 0


def test_verb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "frozen"
    arguments = ["freeze", "--dir", str(DIGITS), "--output_dir", str(target)]
    assert cli.main(arguments) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("8 variables frozen, ")
    assert printed.endswith("signatures: serve, serving_default\n")
    assert cli.main(arguments) == 1
    assert "is there already; --overwrite replaces it" in capsys.readouterr().err
    assert cli.main([*arguments, "--overwrite", "--signature_def", "serve"]) == 0
    assert list(savedmodel.inspect(target).meta_graphs[0].signatures) == ["serve"]
    assert cli.main([*arguments, "--overwrite", "--signature_def", "absent"]) == 1
    assert "absent" in capsys.readouterr().err


def test_verb_names_what_stays_a_variable(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = str(models / "counter" / "saved_model")
    assert cli.main(["freeze", "--dir", source, "--output_dir", str(tmp_path)]) == 0
    assert "kept 'Variable': used by AssignAddVariableOp" in capsys.readouterr().out


def test_verb_writes_to_a_url(tmp_path: Path) -> None:
    target = tmp_path / "frozen"
    assert cli.main(["freeze", "--dir", str(DIGITS), "--output_dir", target.as_uri()]) == 0
    assert (target / "saved_model.pb").is_file()
    # Without an --overwrite.
    assert cli.main(["freeze", "--dir", str(DIGITS), "--output_dir", target.as_uri()]) == 1


def test_handle_that_goes_a_long_way(models: Path, tmp_path: Path) -> None:
    """As many nodes as this pass it on would not fit the stack."""
    text = (models / "pbtxt_form" / "saved_model" / "saved_model.pbtxt").read_text()
    read = re.search(
        r'node_def \{\s*name: "matmul/ReadVariableOp"\s*op: "ReadVariableOp"\s*input: "(\w+)"', text
    )
    assert read is not None
    handles = [read[1], *(f"pass{i}:output:0" for i in range(LONG))]
    chain = "".join(
        f'node_def {{ name: "pass{i}" op: "Identity" input: "{handle}" '
        'attr { key: "T" value { type: DT_RESOURCE } } }\n'
        for i, handle in enumerate(handles[:-1])
    )
    last = read[0].replace(f'input: "{read[1]}"', f'input: "{handles[-1]}"')
    source = shutil.copytree(models / "pbtxt_form" / "saved_model", tmp_path / "source")
    (source / "saved_model.pbtxt").write_text(text.replace(read[0], chain + last, 1))
    threading.stack_size(1 << 20)
    try:
        with ThreadPoolExecutor(1) as thread:
            report = thread.submit(freeze, source, tmp_path / "frozen").result()
    finally:
        threading.stack_size(0)
    assert (report.variables_frozen, report.variables_kept) == (2, {})
