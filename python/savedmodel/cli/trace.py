"""A traced call: TensorFlow's StepStats as ops, how they fill the call's time, a Chrome trace.

StepStats (tensorflow/core/framework/step_stats.proto) has, for each device, when each kernel was
scheduled, started and ended, and its outputs. Times here are nanoseconds since the call began, by
the real-time clock, which is the one that TensorFlow's kernels are timed with.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

# Of these, the time includes that of the ops of the function they call.
_CALLS = {
    *("PartitionedCall", "StatefulPartitionedCall", "SymbolicGradient", "RemoteCall", "MapDefun"),
    *("If", "StatelessIf", "While", "StatelessWhile", "Case", "StatelessCase", "For"),
}

# "[mklcpu 0.1MB 0.2MB] name = Op(input, other:1, ^control)": how the executor labels a node, with
# the memory that it took first if that was much.
_LABEL = re.compile(
    r"(?:\[[^\]]*\]\s*)*(?P<name>\S+) = (?P<op>[^\s(]+)\((?P<inputs>.*)\)", re.DOTALL
)


class Output(NamedTuple):
    """A tensor that an op gave: dtype as TensorFlow writes it in lower case, shape, bytes."""

    dtype: str
    shape: tuple[int, ...] | None
    bytes: int

    def __str__(self) -> str:
        sizes = "?" if self.shape is None else ",".join(map(str, self.shape))
        return f"{self.dtype}[{sizes}]"


@dataclass
class Op:
    """One execution of a node. `lane`: ops of a lane of a device do not overlap in time.

    `self_ns` is its time, less that of the ops of the function it calls. `inputs`: the names of
    the tensors that it read, with what is known of them.
    """

    device: str
    node: str
    op: str
    scheduled_ns: int
    start_ns: int
    end_ns: int
    outputs: list[Output]
    inputs: dict[str, Output | None]
    lane: int = 0
    self_ns: int = 0

    @property
    def bytes(self) -> int:
        """Return the bytes of its outputs."""
        return sum(output.bytes for output in self.outputs)


@dataclass
class Trace:
    """The ops of a call in the order of their starts, and `wall_ns`, the time of the call."""

    ops: list[Op]
    wall_ns: int

    def parts_ns(self) -> dict[str, int]:
        """Return what the call's time was spent on; the parts add up to it.

        "before_ops": until the first op; "ops": while at least one ran; "between_ops": gaps in
        which none ran; "after_ops": from the last op's end on.
        """
        if not self.ops:
            return {"before_ops": self.wall_ns, "ops": 0, "between_ops": 0, "after_ops": 0}
        first = self.ops[0].start_ns
        last = max(op.end_ns for op in self.ops)
        busy = covered_ns(self.ops)
        return {
            "before_ops": first,
            "ops": busy,
            "between_ops": last - first - busy,
            "after_ops": self.wall_ns - last,
        }

    def sum_ns(self) -> int:
        """Return the sum of the ops' own times, which is more than "ops" where they overlap."""
        return sum(op.self_ns for op in self.ops)


@dataclass
class Group:
    """Ops that a table shows in one row."""

    ops: list[Op] = field(default_factory=list)

    @property
    def self_ns(self) -> int:
        """Return the sum of their own times."""
        return sum(op.self_ns for op in self.ops)

    @property
    def bytes(self) -> int:
        """Return the bytes of their outputs."""
        return sum(op.bytes for op in self.ops)

    @property
    def overlap(self) -> float:
        """Return how many of them ran at once on average, while any did."""
        return sum(op.end_ns - op.start_ns for op in self.ops) / max(1, covered_ns(self.ops))


def grouped(ops: Iterable[Op], *keys: str) -> dict[tuple[str, ...], Group]:
    """Return the ops by the values of these fields, the costliest group first."""
    groups: dict[tuple[str, ...], Group] = {}
    for op in ops:
        groups.setdefault(tuple(getattr(op, key) for key in keys), Group()).ops.append(op)
    return dict(sorted(groups.items(), key=lambda item: -item[1].self_ns))


def covered_ns(ops: Iterable[Op], start_ns: int = -(1 << 63), end_ns: int = 1 << 63) -> int:
    """Return for how long at least one of the ops ran, between two times."""
    covered, until = 0, start_ns
    for op in sorted(ops, key=lambda op: op.start_ns):
        begin, end = max(op.start_ns, until), min(op.end_ns, end_ns)
        if end > begin:
            covered += end - begin
            until = end
    return covered


def read(step_stats: Mapping[str, Any], begin_ns: int, wall_ns: int) -> Trace:
    """Return the trace of a call that began at `begin_ns` of time.time_ns() and took `wall_ns`.

    `step_stats` is a StepStats as RunMetadata.to_dict() gives it.
    """
    ops = []
    for device in step_stats.get("dev_stats", ()):
        name = device.get("device", "")
        if name.endswith("stream:all"):
            continue  # Each stream of a GPU is there by itself, too.
        ops += [_read_op(name, stats, begin_ns) for stats in device.get("node_stats", ())]
    ops.sort(key=lambda op: (op.start_ns, -op.end_ns))
    if ops:
        # A GPU's clock may be a little off.
        early = max(0, -ops[0].start_ns)
        for op in ops:
            op.start_ns, op.end_ns = op.start_ns + early, op.end_ns + early
            op.scheduled_ns = max(0, op.scheduled_ns + early)
        wall_ns = max(wall_ns, *(op.end_ns for op in ops))
    _find_inputs(ops)
    _find_lanes(ops)
    _find_self_times(ops)
    return Trace(ops, wall_ns)


def _read_op(device: str, stats: Mapping[str, Any], begin_ns: int) -> Op:
    start = _nanoseconds(stats, "all_start") - begin_ns
    end = start + max(_nanoseconds(stats, "op_start_rel"), _nanoseconds(stats, "op_end_rel"))
    node = stats.get("node_name", "")
    label = _LABEL.fullmatch(stats.get("timeline_label", ""))
    # A kernel on a GPU's stream is called "node:op".
    op = label["op"] if label else node.rpartition(":")[2]
    inputs = label["inputs"].split(", ") if label and label["inputs"] else []
    return Op(
        device=device,
        node=node,
        op=op,
        scheduled_ns=_nanoseconds(stats, "scheduled") - begin_ns,
        start_ns=start + _nanoseconds(stats, "op_start_rel"),
        end_ns=end,
        outputs=[_read_output(output) for output in _by_slot(stats.get("output", ()))],
        inputs={name: None for name in inputs if not name.startswith("^")},
    )


def _nanoseconds(stats: Mapping[str, Any], name: str) -> int:
    nanoseconds = int(stats.get(f"{name}_nanos", 0))
    return nanoseconds or 1000 * int(stats.get(f"{name}_micros", 0))


def _by_slot(outputs: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the outputs at their own indices; those that were not given (Switch) are empty."""
    slots = {int(output.get("slot", 0)): output for output in outputs}
    if not slots or max(slots) > 1 << 16:
        return list(slots.values())
    return [slots.get(slot, {}) for slot in range(max(slots) + 1)]


def _read_output(output: Mapping[str, Any]) -> Output:
    tensor = output.get("tensor_description", {})
    shape = tensor.get("shape", {})
    sizes = tuple(int(dim.get("size", 0)) for dim in shape.get("dim", ()))
    return Output(
        dtype=str(tensor.get("dtype", "none")).removeprefix("DT_").lower(),
        shape=None if shape.get("unknown_rank") else sizes,
        bytes=int(tensor.get("allocation_description", {}).get("requested_bytes", 0)),
    )


def _find_inputs(ops: Sequence[Op]) -> None:
    """Tell each op what its inputs were: the latest outputs of those names before it."""
    latest: dict[str, Op] = {}
    for op in ops:
        for name in op.inputs:
            node, _, slot = name.partition(":")
            producer = latest.get(node)
            index = int(slot) if slot.isdecimal() and len(slot) < 6 else 0
            if producer is not None and index < len(producer.outputs):
                op.inputs[name] = producer.outputs[index]
        latest[op.node] = op


def _find_lanes(ops: Sequence[Op]) -> None:
    """Put each op on the first lane of its device that is free: StepStats names no threads."""
    ends: dict[str, list[int]] = {}
    for op in ops:
        lanes = ends.setdefault(op.device, [])
        op.lane = next((lane for lane, end in enumerate(lanes) if end <= op.start_ns), len(lanes))
        lanes[op.lane : op.lane + 1] = [op.end_ns]


def _find_self_times(ops: Sequence[Op]) -> None:
    for op in ops:
        op.self_ns = op.end_ns - op.start_ns
    starts = [op.start_ns for op in ops]
    for call in ops:
        if call.op in _CALLS:
            begun = ops[bisect_left(starts, call.start_ns) : bisect_left(starts, call.end_ns)]
            within = [op for op in begun if op is not call and op.end_ns <= call.end_ns]
            # What is as long as the call is around it.
            duration = call.self_ns
            call.self_ns -= covered_ns(op for op in within if op.end_ns - op.start_ns < duration)


def chrome_trace(trace: Trace, title: str) -> dict[str, Any]:
    """Return the trace in Chrome's trace event format, which Perfetto opens as well.

    A process for each device and a thread for each of its lanes; process 0 is the whole call.
    Times are microseconds. Format: "Trace Event Format", by the Chromium project.
    """
    events: list[dict[str, Any]] = []

    def name(kind: str, pid: int, tid: int, text: str, order: int) -> None:
        for field_name, value in (("name", text), ("sort_index", order)):
            events.append(
                {
                    "ph": "M",
                    "name": f"{kind}_{field_name}",
                    "pid": pid,
                    "tid": tid,
                    "args": {field_name: value},
                }
            )

    name("process", 0, 0, "savedmodel", 0)
    name("thread", 0, 0, "call", 0)
    events.append(_complete(title, "call", 0, 0, 0, trace.wall_ns, {}))
    devices = {device: 1 + n for n, device in enumerate(sorted({op.device for op in trace.ops}))}
    for device, pid in devices.items():
        name("process", pid, 0, device, pid)
        for lane in sorted({op.lane for op in trace.ops if op.device == device}):
            name("thread", pid, lane, f"lane {lane}", lane)
    for op in trace.ops:
        args = {
            "node": op.node,
            "op": op.op,
            "inputs": [
                f"{name} {'?' if output is None else output}" for name, output in op.inputs.items()
            ],
            "outputs": [str(output) for output in op.outputs],
            "output_bytes": op.bytes,
            "self_us": op.self_ns / 1e3,
            "scheduled_us": op.scheduled_ns / 1e3,
        }
        pid = devices[op.device]
        events.append(_complete(op.op, "op", pid, op.lane, op.start_ns, op.end_ns, args))
    return {"displayTimeUnit": "ns", "traceEvents": events}


def _complete(
    name: str, category: str, pid: int, tid: int, start_ns: int, end_ns: int, args: dict[str, Any]
) -> dict[str, Any]:
    return {
        "ph": "X",
        "name": name,
        "cat": category,
        "pid": pid,
        "tid": tid,
        "ts": start_ns / 1e3,
        "dur": (end_ns - start_ns) / 1e3,
        "args": args,
    }
