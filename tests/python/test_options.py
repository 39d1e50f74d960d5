"""SessionOptions, RunOptions, RunMetadata: TensorFlow's protocol buffers, by field name."""

from __future__ import annotations

import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import savedmodel
from conftest import DIGITS, run_python
from savedmodel import RunMetadata, RunOptions, SessionOptions

IMAGE = np.zeros((1, 8, 8, 1), np.float32)


class Proto:
    """Any object with SerializeToString(), such as TensorFlow's own ConfigProto."""

    def __init__(self, serialized: bytes) -> None:
        self.serialized = serialized

    def SerializeToString(self) -> bytes:  # noqa: N802
        return self.serialized


FIELDS: dict[str, Any] = {
    "device_count": {"CPU": 2},
    "intra_op_parallelism_threads": 3,
    "session_inter_op_thread_pool": [{"num_threads": 1, "global_name": "a"}, {"num_threads": 2}],
    "allow_soft_placement": True,
    "device_filters": ["/job:a", "/job:b"],
    "operation_timeout_in_ms": 2**40,
    "gpu_options": {"allow_growth": True, "per_process_gpu_memory_fraction": 0.5},
    "graph_options": {
        "optimizer_options": {"global_jit_level": "ON_1"},
        "rewrite_options": {
            "optimizers": ["constfold"],
            "custom_optimizers": [
                {"name": "x", "parameter_map": {"k": {"s": b"\xff\x00"}, "n": {"i": -1}}}
            ],
        },
    },
    "experimental": {"executor_type": "SINGLE_THREADED_EXECUTOR"},
}


def test_fields_of_every_kind_come_back() -> None:
    options = SessionOptions(**FIELDS)
    assert options.to_dict() == FIELDS
    assert options.intra_op_parallelism_threads == 3
    assert options.inter_op_parallelism_threads == 0, "the default"
    assert options.gpu_options["allow_growth"] is True
    assert "intra_op_parallelism_threads=3" in repr(options)
    assert "use_per_session_threads" in dir(options)
    for copy in (
        SessionOptions(options),
        SessionOptions(options.SerializeToString()),
        SessionOptions(Proto(options.SerializeToString())),
        pickle.loads(pickle.dumps(options)),
    ):
        assert copy == options
    changed = SessionOptions(options, intra_op_parallelism_threads=4)
    assert changed != options
    assert changed.to_dict() == {**FIELDS, "intra_op_parallelism_threads": 4}


def test_every_field_of_tensorflow_is_there() -> None:
    """Names from TensorFlow's own descriptors, in a process of its own."""
    code = """
from tensorflow.core.protobuf import config_pb2 as c
for m in (c.ConfigProto, c.RunOptions, c.RunMetadata):
    print(*(f.name for f in m.DESCRIPTOR.fields))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for message, line in zip(
        (SessionOptions(), RunOptions(), RunMetadata()), done.stdout.splitlines(), strict=True
    ):
        assert set(line.split()) <= set(dir(message))
        for field in line.split():
            getattr(message, field)


def test_serialized_as_tensorflow_does() -> None:
    code = """
import sys
from tensorflow.core.protobuf import config_pb2 as c
p = c.ConfigProto(intra_op_parallelism_threads=3, device_count={"CPU": 2}, device_filters=["a"])
p.gpu_options.allow_growth = True
sys.stdout.buffer.write(p.SerializeToString(deterministic=True))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    ours = SessionOptions(
        intra_op_parallelism_threads=3,
        device_count={"CPU": 2},
        device_filters=["a"],
        gpu_options={"allow_growth": True},
    )
    assert SessionOptions(done.stdout) == ours


def test_numbers_of_numpy_and_enums_by_number() -> None:
    assert SessionOptions(intra_op_parallelism_threads=np.int64(2)).to_dict() == {
        "intra_op_parallelism_threads": 2
    }
    assert RunOptions(trace_level=3) == RunOptions(trace_level="FULL_TRACE")


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"intra_op_threads": 2}, "unknown option 'intra_op_threads' of ConfigProto"),
        (
            {"intra_op_paralelism_threads": 2},
            "did you mean 'intra_op_parallelism_threads'",
        ),
        ({"gpu_options": {"alow_growth": True}}, r"'gpu_options.alow_growth'.*'allow_growth'"),
        ({"gpu_options.allow_growth": True}, "nested options go as a dict"),
        ({"gpu_options": True}, "takes a mapping of the fields of GPUOptions, got a bool"),
        ({"intra_op_parallelism_threads": "2"}, "takes an integer.*got a string '2'"),
        ({"intra_op_parallelism_threads": 2.0}, "takes an integer.*got a float"),
        ({"intra_op_parallelism_threads": 2**31}, "takes an integer of type int32"),
        ({"intra_op_parallelism_threads": 2**70}, "out of range"),
        ({"intra_op_parallelism_threads": True}, "got a bool"),
        ({"intra_op_parallelism_threads": None}, "NoneType"),
        ({"allow_soft_placement": 1}, "takes a bool"),
        ({"device_filters": "a"}, "takes a list"),
        ({"device_filters": ["a", 1]}, r"device_filters\[1\].*takes a string"),
        ({"device_count": {"CPU": "2"}}, r"'device_count.CPU' takes an integer"),
        ({"device_count": [1]}, "mapping"),
        (
            {"graph_options": {"optimizer_options": {"global_jit_level": "ON_9"}}},
            "one of .*'ON_1'.*got a string 'ON_9'",
        ),
    ],
)
def test_wrong_fields_are_type_errors(fields: dict[str, Any], match: str) -> None:
    with pytest.raises(TypeError, match=match):
        SessionOptions(**fields)


def test_wrong_protos() -> None:
    with pytest.raises(ValueError, match="not a serialized ConfigProto"):
        SessionOptions(b"\xff\xff")
    with pytest.raises(TypeError, match="expected SessionOptions, serialized bytes"):
        SessionOptions(3)
    with pytest.raises(TypeError, match="expected RunOptions"):
        savedmodel.load(DIGITS, run_options={"timeout_in_ms": 3})
    with pytest.raises(AttributeError, match="no field 'nope'"):
        _ = SessionOptions().nope
    with pytest.raises(TypeError, match="unhashable"):
        hash(SessionOptions())


def test_session_options_reach_tensorflow() -> None:
    with savedmodel.load(DIGITS, session_options=SessionOptions(device_count={"CPU": 3})) as model:
        assert len(model.devices) == 3


def test_options_that_tensorflow_itself_accepts() -> None:
    serialized = SessionOptions(device_count={"CPU": 2}).SerializeToString()
    for options in (serialized, Proto(serialized)):
        with savedmodel.load(DIGITS, session_options=options) as model:
            assert len(model.devices) == 2


@pytest.mark.parametrize(
    "fields",
    [
        {"inter_op_parallelism_threads": -1},
        {"inter_op_parallelism_threads": -7},
        {"device_count": {"CPU": 0}},
        {"device_count": {"CPU": -1}},
        {"device_count": {"": 1}},
        {"session_inter_op_thread_pool": [{"num_threads": 0}, {"num_threads": 1}]},
        {"experimental": {"executor_type": "NO_SUCH_EXECUTOR"}},
        {"experimental": {"collective_group_leader": "/job:none"}},
        {"use_per_session_threads": True},
        {"isolate_session_state": True},
        {"graph_options": {"rewrite_options": {"optimizers": ["no_such_optimizer"]}}},
        {"graph_options": {"place_pruned_graph": True}},
        {"cluster_def": {"job": [{"name": "a", "tasks": {"0": "localhost:1"}}]}},
        {"rpc_options": {"compression_level": 77}},
        {"placement_period": -1, "operation_timeout_in_ms": -1},
    ],
    ids=repr,
)
def test_odd_session_options_end_in_an_answer_or_an_error(fields: dict[str, Any]) -> None:
    done = run_python(
        """
import sys, numpy as np, savedmodel
options = savedmodel.SessionOptions(**eval(sys.argv[2]))
try:
    with savedmodel.load(sys.argv[1], session_options=options) as model:
        model.signatures["serve"](np.zeros((1, 8, 8, 1), np.float32))
    print("ran")
except savedmodel.SavedModelError as error:
    print(type(error).__name__, error)
""",
        str(DIGITS),
        repr(fields),
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize(
    "fields",
    [
        {"intra_op_parallelism_threads": -5},
        {"session_inter_op_thread_pool": [{}, {"num_threads": -3}]},
        {"intra_op_parallelism_threads": 100_000},
        {"inter_op_parallelism_threads": 2**31 - 1},
        {"session_inter_op_thread_pool": [{"num_threads": 200_000}]},
    ],
)
def test_pools_that_cannot_be_made_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(savedmodel.InvalidArgumentError, match="expected a number of threads"):
        savedmodel.load(DIGITS, session_options=SessionOptions(**fields))


@pytest.mark.parametrize(
    "fields",
    [
        {"inter_op_thread_pool": -1},
        {"inter_op_thread_pool": 5},
        {"inter_op_thread_pool": -5},
        {"timeout_in_ms": -1},
        {"trace_level": "FULL_TRACE"},
        {"output_partition_graphs": True},
        {"debug_options": {"debug_tensor_watch_opts": [{"node_name": "x"}]}},
        {"experimental": {"run_handler_pool_options": {"priority": 1}}},
        {"experimental": {"use_run_handler_pool": True}},
        {"report_tensor_allocations_upon_oom": True},
    ],
    ids=repr,
)
@pytest.mark.parametrize("where", ["load", "call"])
def test_odd_run_options_end_in_an_answer_or_an_error(fields: dict[str, Any], where: str) -> None:
    done = run_python(
        """
import sys, numpy as np, savedmodel
options = savedmodel.RunOptions(**eval(sys.argv[2]))
image = np.zeros((1, 8, 8, 1), np.float32)
at_load = options if sys.argv[3] == "load" else None
try:
    with savedmodel.load(sys.argv[1], run_options=at_load) as model:
        model.signatures["serve"].run({"image": image}, run_options=None if at_load else options)
    print("ran")
except savedmodel.SavedModelError as error:
    print(type(error).__name__, error)
""",
        str(DIGITS),
        repr(fields),
        where,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_run_options_of_a_call(digits: savedmodel.Model) -> None:
    signature = digits.signatures["serve"]
    expected = signature(IMAGE)["probabilities"]
    for options in (RunOptions(inter_op_thread_pool=-1), RunOptions().SerializeToString()):
        result = signature.run({"image": IMAGE}, run_options=options)["probabilities"]
        # The session heeds all options, the engine few; they round differently.
        np.testing.assert_allclose(result, expected, rtol=1e-5)
    with pytest.raises(savedmodel.InvalidArgumentError, match="thread_pool"):
        signature.run({"image": IMAGE}, run_options=RunOptions(inter_op_thread_pool=9))


def test_run_metadata(digits: savedmodel.Model) -> None:
    signature = digits.signatures["serve"]
    metadata = RunMetadata()
    signature.run({"image": IMAGE}, metadata=metadata)
    assert "step_stats" not in metadata.to_dict(), "no trace was asked for"
    signature.run(
        {"image": IMAGE}, run_options=RunOptions(trace_level="FULL_TRACE"), metadata=metadata
    )
    nodes = [
        node["node_name"]
        for device in metadata.step_stats["dev_stats"]
        for node in device["node_stats"]
    ]
    assert any("max_pooling2d" in node for node in nodes)
    assert RunMetadata.__doc__
    with pytest.raises(TypeError):
        signature.run({"image": IMAGE}, metadata=object())


def test_the_default_of_every_call_is_that_of_loading(models: Any) -> None:
    path = models / "while_loop" / "saved_model"
    with savedmodel.load(path, run_options=RunOptions(trace_level="FULL_TRACE")) as model:
        signature = next(iter(model.signatures.values()))
        metadata = RunMetadata()
        inputs = {
            k: np.ones([d or 1 for d in v.shape or ()], v.dtype)
            for k, v in signature.inputs.items()
        }
        signature.run(inputs, metadata=metadata)
        assert metadata.step_stats["dev_stats"]
