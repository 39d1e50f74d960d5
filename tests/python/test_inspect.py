"""`inspect` against what TensorFlow says of the same models."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import savedmodel
from chunked import field
from conftest import DIGITS, run_python

NAMES = [
    "object_graph",
    "unused_variables",
    "sharded_variables",
    "vocabulary_asset",
    "tf1_two_tag_sets",
    "tf1_partitioned_variables",
    "tf1_legacy_init_op",
    "keras_cnn",
    "ragged_input",
]

ORACLE = """
import collections, json, sys
from pathlib import Path
import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

answers = {}
for path in sys.argv[1:]:
    proto = SavedModel.FromString(Path(path, "saved_model.pb").read_bytes())
    meta_graphs = []
    for meta_graph in proto.meta_graphs:
        graph = meta_graph.graph_def
        ops = collections.Counter(node.op for node in graph.node)
        for function in graph.library.function:
            ops.update(node.op for node in function.node_def)
        meta_graphs.append({
            "tags": sorted(meta_graph.meta_info_def.tags),
            "tensorflow_version": meta_graph.meta_info_def.tensorflow_version,
            "producer": graph.versions.producer,
            "ops": ops,
            "num_nodes": len(graph.node),
            "num_functions": len(graph.library.function),
            "num_objects": len(meta_graph.object_graph_def.nodes),
            "collections": sorted(meta_graph.collection_def),
            "restore_op_name": meta_graph.saver_def.restore_op_name,
            "methods": {k: s.method_name for k, s in meta_graph.signature_def.items()
                        if not k.startswith("__saved_model")},
        })
    prefix = str(Path(path, "variables", "variables"))
    reader = tf.train.load_checkpoint(prefix) if Path(prefix + ".index").exists() else None
    checkpoint = {
        key: [reader.get_variable_to_dtype_map()[key].name, shape]
        for key, shape in reader.get_variable_to_shape_map().items()
    } if reader else {}
    functions = {}
    if meta_graphs[0]["num_objects"] and len(meta_graphs) == 1:
        loaded = tf.saved_model.load(path)
        for name in dir(loaded):
            function = getattr(loaded, name, None)
            if hasattr(function, "concrete_functions") and hasattr(function, "python_function"):
                functions[name] = sorted(
                    [repr(trace.structured_input_signature), repr(trace.structured_outputs)]
                    for trace in function.concrete_functions)
    answers[path] = {"meta_graphs": meta_graphs, "checkpoint": checkpoint,
                     "functions": functions}
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def oracle(models: Path) -> dict[str, Any]:
    """What TensorFlow's Python reads of the models, in a process of its own."""
    paths = [str(models / name / "saved_model") for name in NAMES]
    done = subprocess.run(
        [sys.executable, "-c", ORACLE, *paths],
        capture_output=True,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    answers: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return dict(zip(NAMES, (answers[path] for path in paths), strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_against_tensorflow(models: Path, oracle: dict[str, Any], name: str) -> None:
    inspection = savedmodel.inspect(models / name / "saved_model")
    expected = oracle[name]
    assert len(inspection.meta_graphs) == len(expected["meta_graphs"])
    for info, theirs in zip(inspection.meta_graphs, expected["meta_graphs"], strict=True):
        assert sorted(info.tags) == theirs["tags"]
        assert info.tensorflow_version == theirs["tensorflow_version"]
        assert info.producer == theirs["producer"]
        assert info.ops == theirs["ops"]
        assert info.num_nodes == theirs["num_nodes"]
        assert info.num_functions == theirs["num_functions"]
        assert info.num_objects == theirs["num_objects"]
        assert sorted(info.collections) == theirs["collections"]
        assert info.saver is None or info.saver.restore_op_name == theirs["restore_op_name"]
        assert {k: s.method_name for k, s in info.signatures.items()} == theirs["methods"]
    assert {
        key: [entry.dtype, list(entry.shape)] for key, entry in inspection.checkpoint.items()
    } == expected["checkpoint"]
    for function, traces in expected["functions"].items():
        ours = inspection.meta_graphs[0].functions[function]
        assert sorted([trace.inputs, trace.outputs] for trace in ours) == traces


def test_functions_were_compared(oracle: dict[str, Any]) -> None:
    assert len(oracle["object_graph"]["functions"]["apply"]) == 2


@pytest.mark.parametrize("name", ["object_graph", "vocabulary_asset", "ragged_input"])
def test_signatures(models: Path, name: str) -> None:
    specs = pickle.loads((models / name / "tf_specs.pkl").read_bytes())
    signatures = savedmodel.inspect(models / name / "saved_model").meta_graphs[0].signatures
    assert signatures.keys() == specs.keys()
    for key, signature in signatures.items():
        for ours, theirs in (
            (signature.inputs, specs[key]["inputs"]),
            (signature.outputs, specs[key]["outputs"]),
        ):
            assert {
                n: (
                    "string" if spec.dtype == object else spec.dtype.name,
                    None if spec.shape is None else list(spec.shape),
                )
                for n, spec in ours.items()
            } == theirs


def test_objects(models: Path) -> None:
    info = savedmodel.inspect(models / "object_graph" / "saved_model").meta_graphs[0]
    assert [variable.path for variable in info.variables] == [
        "layers.0.weight",
        "layers.1.weight",
    ]
    assert [variable.trainable for variable in info.variables] == [True, False]
    assert info.variables[0].dtype == "float32"
    assert info.variables[0].shape == (2, 2)
    assert info.variables[0].name == "w0"
    (apply,) = (info.functions[name] for name in info.functions if name == "apply")
    assert any("True" in trace.inputs for trace in apply)


def test_tables_and_assets(models: Path) -> None:
    for name, path in (("vocabulary_asset", "table"), ("tf1_main_op", "hash_table")):
        inspection = savedmodel.inspect(models / name / "saved_model")
        info = inspection.meta_graphs[0]
        assert info.tables[path] == "HashTableV2"
        (asset,) = set(info.assets.values())
        assert f"assets/{asset}" in inspection.files
        assert info.init_op


def test_tf1_objects(models: Path) -> None:
    info = savedmodel.inspect(models / "tf1_main_op" / "saved_model").meta_graphs[0]
    assert [(v.path, v.dtype, v.shape, v.trainable) for v in info.variables] == [
        ("scale", "int32", (), True)
    ]
    assert info.collections["saved_model_main_op"].nodes == [info.init_op]
    legacy = savedmodel.inspect(models / "tf1_legacy_init_op" / "saved_model").meta_graphs[0]
    assert legacy.init_op
    assert "legacy_init_op" in legacy.collections


def test_shards_and_slices(models: Path) -> None:
    sharded = savedmodel.inspect(models / "sharded_variables" / "saved_model")
    data = [name for name in sharded.files if ".data-" in name]
    assert sharded.num_shards == len(data) > 1
    assert {entry.shard for entry in sharded.checkpoint.values()} <= set(range(len(data)))
    partitioned = savedmodel.inspect(models / "tf1_partitioned_variables" / "saved_model")
    (table,) = partitioned.checkpoint.values()
    assert sorted(table.slices) == ["0,3:0,4", "3,2:0,4", "5,2:0,4"]
    assert table.shape == (7, 4)
    assert table.bytes == 7 * 4 * 4


def test_files(models: Path) -> None:
    beside = savedmodel.inspect(models / "files_beside" / "saved_model")
    assert beside.has_debug_info
    assert beside.has_keras_metadata
    assert not beside.has_warmup_requests
    extra = savedmodel.inspect(models / "assets_extra" / "saved_model")
    assert extra.has_warmup_requests
    assert [Path(path).name for path in extra.extra_assets] == [
        "readme.txt",
        "tf_serving_warmup_requests",
    ]
    digits = savedmodel.inspect(DIGITS)
    assert digits.files == {
        str(path.relative_to(DIGITS)): path.stat().st_size
        for path in DIGITS.rglob("*")
        if path.is_file()
    }
    assert savedmodel.inspect(models / "pbtxt_form" / "saved_model").format == "pbtxt"


def test_versions(tmp_path: Path) -> None:
    for number in ("1", "20", "007"):
        shutil.copytree(DIGITS, tmp_path / number)
    newest = savedmodel.inspect(tmp_path)
    assert newest.versions == [1, 7, 20]
    assert newest.path == str(tmp_path / "20")
    assert savedmodel.inspect(tmp_path, version=7).path == str(tmp_path / "007")
    assert savedmodel.inspect(tmp_path / "1").versions == []
    with pytest.raises(savedmodel.NotFoundError, match=r"no version 3.*: 1, 7, 20"):
        savedmodel.inspect(tmp_path, version=3)


def test_text(models: Path) -> None:
    inspection = savedmodel.inspect(models / "object_graph" / "saved_model")
    text = str(inspection)
    for part in (
        f"SavedModel '{inspection.path}', pb",
        "signature 'serving_default' (tensorflow/serving/predict)",
        "input 'x': float32 (None, 2)",
        "function 'apply'",
        "variable 'layers.1.weight': float32 (2, 2), not trainable",
        "checkpoint: ",
    ):
        assert part in text
    assert repr(inspection) == f"<savedmodel.Inspection of '{inspection.path}': {{'serve'}}>"


def test_it_agrees_with_the_loaded_model(digits: savedmodel.Model) -> None:
    inspection = savedmodel.inspect(DIGITS)
    assert inspection.fingerprint == digits.fingerprint
    info = inspection.meta_graphs[0]
    assert set(info.tags) == digits.tags
    assert {name: signature.inputs for name, signature in info.signatures.items()} == {
        name: signature.inputs for name, signature in digits.signatures.items()
    }


def test_how_little_is_loaded() -> None:
    """Neither TensorFlow's large library, nor its Python, nor NumPy."""
    code = """
import sys, savedmodel
from pathlib import Path
savedmodel.inspect(sys.argv[1])
assert "libtensorflow_cc" not in Path("/proc/self/maps").read_text()
assert "tensorflow" not in sys.modules
assert "numpy" not in sys.modules
print(savedmodel.inspect(sys.argv[1]).meta_graphs[0].signatures["serve"].inputs["image"].dtype)
"""
    done = run_python(code, str(DIGITS))
    assert done.stdout == "float32\n", done.stderr
    assert done.stderr == ""


def test_numpy_is_there_when_it_is_needed() -> None:
    code = """
import sys, savedmodel
array = savedmodel.aligned_empty((2, 3))
with savedmodel.load(sys.argv[1]) as model:
    image = model.signatures["serve"].inputs["image"]
    print(array.shape, model.signatures["serve"]([[[[0.0]] * 8] * 8])["probabilities"].shape)
"""
    done = run_python(code, str(DIGITS))
    assert done.stdout == "(2, 3) (1, 10)\n", done.stderr


def test_a_chain_of_objects(tmp_path: Path) -> None:
    """A file of megabytes whose paths sum up to gigabytes."""
    function = field(6, b"")
    nodes = b"".join(
        field(1, field(1, field(1, node + 1) + field(2, b"o")) + function)
        for node in range(100_000)
    )
    (tmp_path / "saved_model.pb").write_bytes(
        field(2, field(7, nodes + field(1, function))),
    )
    with pytest.raises(savedmodel.ResourceExhaustedError, match="paths .* are too long"):
        savedmodel.inspect(tmp_path)


FUZZ = """
import random, sys
from pathlib import Path
import savedmodel
folder, seed = Path(sys.argv[1]), int(sys.argv[2])
random.seed(seed)
files = [p for p in sorted(folder.rglob("*")) if p.is_file()]
outcomes = set()
for round in range(200):
    victim = random.choice(files)
    sound = victim.read_bytes()
    data = bytearray(sound)
    for _ in range(random.choice([1, 1, 4, 32])):
        at = random.randrange(len(data))
        data[at] = random.randrange(256)
    if random.randrange(4) == 0: del data[random.randrange(len(data)) :]
    victim.write_bytes(data)
    try: str(savedmodel.inspect(folder)); outcomes.add("text")
    except savedmodel.SavedModelError as error: outcomes.add(type(error).__name__)
    victim.write_bytes(sound)
print(sorted(outcomes))
"""


@pytest.mark.parametrize("name", ["object_graph", "pbtxt_form", "tf1_partitioned_variables"])
def test_hostile_bytes(models: Path, tmp_path: Path, name: str) -> None:
    shutil.copytree(models / name / "saved_model", tmp_path / "m")
    done = run_python(FUZZ, str(tmp_path / "m"), "1")
    assert done.returncode == 0, done.stderr[-2000:]
    assert "text" in done.stdout
    assert "DataLossError" in done.stdout
