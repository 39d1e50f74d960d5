"""`savedmodel profile`."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from conftest import DIGITS, SOON, with_engine
from savedmodel import cli
from savedmodel.cli import trace

Capture = pytest.CaptureFixture[str]

CPU = "/job:localhost/replica:0/task:0/device:CPU:0"


def profile(*arguments: str) -> int:
    return cli.main(["profile", "--runs", "1", *arguments])


def report_of(capsys: Capture, *arguments: str) -> dict[str, Any]:
    assert profile("--format", "json", *arguments) == 0
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    return report


def node(name: str, op: str, start_us: float, end_us: float, **fields: Any) -> dict[str, Any]:
    """A NodeExecStats as RunMetadata.to_dict() gives it; the call begins at a second."""
    begin = 10**9 + round(start_us * 1000)
    return {
        "node_name": name,
        "timeline_label": f"{name} = {op}({fields.pop('inputs', '')})",
        "scheduled_nanos": begin - 500,
        "all_start_nanos": begin - 100,
        "op_start_rel_nanos": 100,
        "op_end_rel_nanos": 100 + round((end_us - start_us) * 1000),
        **fields,
    }


def tensor(slot: int, size: int) -> dict[str, Any]:
    description = {
        "dtype": "DT_FLOAT",
        "shape": {"dim": [{"size": size}]},
        "allocation_description": {"requested_bytes": 4 * size},
    }
    return (
        {"slot": slot, "tensor_description": description}
        if slot
        else {"tensor_description": description}
    )


def read(*nodes: dict[str, Any], wall_us: float = 100) -> trace.Trace:
    stats = {"dev_stats": [{"device": CPU, "node_stats": list(nodes)}]}
    return trace.read(stats, 10**9, round(wall_us * 1000))


def assert_is_chrome_trace(document: Any) -> list[dict[str, Any]]:
    """Checks the trace event format, and returns the events that are ops."""
    assert set(document) == {"traceEvents", "displayTimeUnit"}
    named: set[tuple[str, int, int]] = set()
    lanes: dict[tuple[int, int], list[dict[str, Any]]] = {}
    for event in document["traceEvents"]:
        assert {"ph", "name", "pid", "tid", "args"} <= set(event)
        if event["ph"] == "M":
            if event["name"].endswith("_name"):
                assert isinstance(event["args"]["name"], str)
                named.add((event["name"], event["pid"], event["tid"]))
            else:
                assert isinstance(event["args"]["sort_index"], int)
        else:
            assert event["ph"] == "X"
            assert event["ts"] >= 0
            assert event["dur"] >= 0
            lanes.setdefault((event["pid"], event["tid"]), []).append(event)
    for (pid, tid), events in lanes.items():
        assert ("process_name", pid, 0) in named
        assert ("thread_name", pid, tid) in named
        events.sort(key=lambda event: (event["ts"], event["dur"]))
        for event, following in pairwise(events):
            assert event["ts"] + event["dur"] <= following["ts"] + 1e-6
    (whole,) = lanes[0, 0]
    ops = [event for (pid, _), events in lanes.items() if pid for event in events]
    assert all(event["ts"] + event["dur"] <= whole["dur"] + 1e-6 for event in ops)
    return ops


@pytest.mark.parametrize(
    "name",
    ["keras_cnn", "no_inline_function", "lstm_while_loop", "tf1_control_flow", "wide_signature"],
)
def test_trace_file(name: str, models: Path, tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "trace.json"
    assert profile("--dir", str(models / name / "saved_model"), "--trace", str(file)) == 0
    assert capsys.readouterr().err == ""
    ops = assert_is_chrome_trace(json.loads(file.read_text()))
    for event in ops:
        assert event["cat"] == "op"
        assert event["name"] == event["args"]["op"]
        assert {"node", "inputs", "outputs", "output_bytes", "self_us"} <= set(event["args"])


def test_ops_of_inlined_functions(models: Path, tmp_path: Path, capsys: Capture) -> None:
    """The signature is one StatefulPartitionedCall node; what is in it shows."""
    file = tmp_path / "trace.json"
    model = str(models / "keras_cnn" / "saved_model")
    session = ("--optimize", "none")
    report = report_of(capsys, "--dir", model, "--batch", "3", "--trace", str(file), *session)
    kinds = {row["op"] for row in report["by_op"]}
    assert any("Conv2D" in kind for kind in kinds)
    assert any("MaxPool" in kind for kind in kinds)
    assert "StatefulPartitionedCall" not in kinds
    ops = json.loads(file.read_text())["traceEvents"]
    (convolution,) = (
        event
        for event in ops
        if event["ph"] == "X" and event["args"].get("node", "").endswith("conv2d_1/convolution")
    )
    image, kernel = convolution["args"]["inputs"]
    assert image.endswith(" float[3,12,12,3]")
    assert kernel.endswith(" float[3,3,3,4]")
    assert convolution["args"]["outputs"] == ["float[3,10,10,4]"]
    assert convolution["args"]["output_bytes"] == 3 * 10 * 10 * 4 * 4


def test_kinds_of_ops_that_take_much_memory(capsys: Capture) -> None:
    report = report_of(capsys, "--dir", str(DIGITS), "--batch", "256")
    # The first row took most time, which need not be what took most memory.
    assert max(row["output_bytes"] for row in report["by_op"]) > 1 << 17
    assert all("/" not in row["op"] for row in report["by_op"])


@with_engine
def test_kernels_of_the_engine(models: Path, capsys: Capture) -> None:
    report = report_of(capsys, "--dir", str(models / "keras_cnn" / "saved_model"), "--batch", "3")
    kinds = {row["op"]: row for row in report["by_op"]}
    assert kinds["Conv2D+Bias+Relu"]["count"] >= 1
    assert all(row["output_bytes"] > 0 for row in report["by_op"])


def test_functions_that_are_not_inlined(models: Path, capsys: Capture) -> None:
    model = str(models / "no_inline_function" / "saved_model")
    report = report_of(capsys, "--dir", model, "--optimize", "none")
    kinds = {row["op"]: row for row in report["by_op"]}
    assert kinds["PartitionedCall"]["count"] == 2
    assert kinds["Relu"]["count"] == 2  # Their bodies.


def test_report_adds_up(models: Path, capsys: Capture) -> None:
    model = str(models / "keras_two_inputs_two_outputs" / "saved_model")
    report = report_of(capsys, "--dir", model)
    assert sum(report["parts_us"].values()) == pytest.approx(report["wall_us"])
    assert min(report["parts_us"].values()) >= 0
    for rows in (report["by_op"], report["by_node"]):
        assert sum(row["self_us"] for row in rows) == pytest.approx(report["ops_sum_us"])
        assert sum(row["share"] for row in rows) == pytest.approx(1)
        costs = [row["self_us"] for row in rows]
        assert costs == sorted(costs, reverse=True)
        assert all(row["overlap"] >= 0 for row in rows)
    counts = [sum(row["count"] for row in report[key]) for key in ("by_op", "by_node")]
    assert counts[0] == counts[1]


def test_given_inputs(capsys: Capture) -> None:
    report = report_of(capsys, "--dir", str(DIGITS), "--input_exprs", "image=np.ones((4, 8, 8, 1))")
    assert report["model"]["inputs"] == {
        "image": {"dtype": "float32", "shape": [4, 8, 8, 1], "random": False}
    }


def test_tables(capsys: Capture) -> None:
    kinds = {row["op"] for row in report_of(capsys, "--dir", str(DIGITS))["by_op"]}
    assert profile("--dir", str(DIGITS), "--top", "2") == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert "Time of the call" in printed.out
    assert "Ops by kind (the first 2 of " in printed.out
    assert "Ops by node (the first 2 of " in printed.out
    # Those that took most time, which may be any two.
    assert sum(f"\n{kind} " in printed.out for kind in kinds) == 2
    assert max(map(len, printed.out.splitlines())) <= 80


def test_overlapping_ops_get_lanes_of_their_own() -> None:
    traced = read(node("a", "A", 10, 40), node("b", "B", 20, 30), node("c", "C", 30, 50))
    assert [(op.node, op.lane) for op in traced.ops] == [("a", 0), ("b", 1), ("c", 1)]
    assert traced.sum_ns() == 60_000
    assert traced.parts_ns() == {
        "before_ops": 10_000,
        "ops": 40_000,
        "between_ops": 0,
        "after_ops": 50_000,
    }
    assert trace.grouped(traced.ops, "device")[CPU,].overlap == pytest.approx(1.5)
    assert_is_chrome_trace(trace.chrome_trace(traced, "call"))


def test_gaps_are_not_ops() -> None:
    traced = read(node("a", "A", 10, 20), node("b", "B", 50, 60))
    assert traced.parts_ns()["between_ops"] == 30_000


def test_time_of_a_called_function_counts_once() -> None:
    traced = read(
        node("call", "PartitionedCall", 10, 60),
        node("inner", "StatefulPartitionedCall", 20, 50),
        node("kernel", "Conv2D", 25, 45),
        node("other", "Relu", 70, 75),
    )
    own = {op.node: op.self_ns for op in traced.ops}
    assert own == {"call": 20_000, "inner": 10_000, "kernel": 20_000, "other": 5_000}
    assert traced.sum_ns() == traced.parts_ns()["ops"]


def test_a_call_whose_body_has_no_ops_keeps_its_time() -> None:
    """A function that XLA compiled is one kernel."""
    traced = read(node("call", "PartitionedCall", 10, 60), node("other", "Relu", 70, 75))
    assert traced.ops[0].self_ns == 50_000


def test_inputs_are_the_latest_outputs_of_their_producers() -> None:
    traced = read(
        node("a", "A", 0, 1, output=[tensor(0, 2), tensor(1, 3)]),
        node("b", "B", 2, 3, inputs="a, a:1, missing, ^control"),
        node("a", "A", 4, 5, output=[tensor(1, 7)]),
        node("b", "B", 6, 7, inputs="a:1"),
    )
    first, second = (op for op in traced.ops if op.node == "b")
    assert {name: str(output) for name, output in first.inputs.items()} == {
        "a": "float[2]",
        "a:1": "float[3]",
        "missing": "None",
    }
    assert str(second.inputs["a:1"]) == "float[7]"
    assert traced.ops[0].bytes == 20


def test_labels_that_begin_with_memory() -> None:
    label = "[mklcpu 0.1MB 0.2MB] [other 1.0MB ]a = Conv2D(x, ^y)"
    (op,) = read(node("a", "A", 0, 1, timeline_label=label)).ops
    assert (op.op, list(op.inputs)) == ("Conv2D", ["x"])


def test_clock_that_is_early() -> None:
    traced = read(node("a", "A", -5, 5), node("b", "B", 96, 120))
    assert traced.ops[0].start_ns == 0
    assert traced.wall_ns == traced.ops[1].end_ns
    assert_is_chrome_trace(trace.chrome_trace(traced, "call"))


def test_gpu_streams_are_devices() -> None:
    stats = {
        "dev_stats": [
            {"device": "/device:GPU:0/stream:7", "node_stats": [node("a:A", "A", 1, 2)]},
            {"device": "/device:GPU:0/stream:all", "node_stats": [node("a:A", "A", 1, 2)]},
        ]
    }
    del stats["dev_stats"][0]["node_stats"][0]["timeline_label"]
    (op,) = trace.read(stats, 10**9, 10**6).ops
    assert (op.op, op.device) == ("A", "/device:GPU:0/stream:7")


def test_no_statistics() -> None:
    traced = trace.read({}, 0, 1000)
    assert traced.parts_ns()["before_ops"] == 1000
    assert traced.sum_ns() == 0


def test_refused_values(models: Path, capsys: Capture) -> None:
    assert profile("--dir", str(models / "parse_example" / "saved_model")) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "Could not parse example input" in line
    assert "--input_examples" in line


def test_trace_file_that_cannot_be_written(tmp_path: Path, capsys: Capture) -> None:
    assert profile("--dir", str(DIGITS), "--trace", str(tmp_path / "no" / "trace.json")) == 1
    assert "No such file or directory" in capsys.readouterr().err


def test_trace_is_written_though_nobody_reads_the_tables(tmp_path: Path) -> None:
    command = f"{sys.executable} -m savedmodel profile --dir '{DIGITS}' --trace trace.json | true"
    subprocess.run(command, shell=True, cwd=tmp_path, check=True, timeout=SOON)
    assert json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
