"""What was promised of this package's speed, and whether a run reached it."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence

from benchmarks.fresh_process import KERAS_MODELS
from benchmarks.report import Row, median_row, ratios
from benchmarks.runtimes.measure import Found, case_name
from benchmarks.runtimes.runtimes import (
    BATCHED,
    BOUND,
    DEFAULT,
    IN_CPP,
    LIBRARIES,
    LITERT,
    ONNX,
    PEERS,
    PEERS_ARRAYS,
    SAVED,
    TF1_CALLABLE,
    TF2,
)

SECTION = "What it must reach"

# The most of TensorFlow's own time: of its signature, or of the callable where that does not load.
SHARE_OF_TENSORFLOW = {
    "scalar": 1 / 100,
    "LSTM": 0.6,
    "MobileNet": 0.6,
    "ResNet50": 0.6,
    "EfficientNetB0": 0.6,
    "transformer": 0.85,
    "basic-pitch": 0.85,
}
SHARE_OF_BEST_PEER = {"scalar": 0.7, "MLP": 1.0}
LARGE_MODELS = ("MobileNet", "ResNet50", "EfficientNetB0", "transformer", "basic-pitch")
START_MODEL, MEMORY_MODEL, THROUGHPUT_MODEL = "MobileNet", "ResNet50", "MLP"
WEIGHTS_FACTOR = 1.3
CALLERS = 8

# Answers that differ by more, as a share of the largest element, are no answers.
TOLERANCE = 1e-3


def limit_rows(found: Found) -> list[Row]:
    """A row for each promise that the run has the figures of."""
    return [
        *_calls(found),
        *_peers(found),
        *_starts(found),
        *_memory(found),
        *_throughput(found),
    ]


def p50(found: Found, model: str, runtime: str, case: str = "batch 1") -> list[float]:
    """Microseconds of a call in each round; none if the runtime does not answer rightly."""
    if found.differences.get(model, {}).get(runtime, 0.0) > TOLERANCE:
        return []
    return _figures(found, model, runtime, case, "p50")


def _figures(found: Found, model: str, runtime: str, case: str, key: str) -> list[float]:
    rounds = found.calls.get(model, {}).get(runtime, {}).get(case, [])
    return [told[key] for told in rounds]


def tensorflow(found: Found, model: str) -> str:
    """Which of TensorFlow's runtimes the others are compared with."""
    return TF2 if p50(found, model, TF2) else TF1_CALLABLE


def _best(found: Found, model: str, runtimes: Sequence[str]) -> str | None:
    medians = {runtime: p50(found, model, runtime) for runtime in runtimes}
    answering = [runtime for runtime in runtimes if medians[runtime]]
    return min(answering, key=lambda name: statistics.median(medians[name]), default=None)


def _ratio(
    what: str, ours: Sequence[float], theirs: Sequence[float], limit: float | None
) -> list[Row]:
    if not ours or not theirs:
        return []
    if len(ours) != len(theirs):  # not of the same rounds
        ours, theirs = [statistics.median(ours)], [statistics.median(theirs)]
    return [median_row(SECTION, what, ratios(ours, theirs), "ratio", limit)]


def _calls(found: Found) -> list[Row]:
    rows = []
    for model, limit in SHARE_OF_TENSORFLOW.items():
        other = tensorflow(found, model)
        ours, theirs = p50(found, model, BOUND), p50(found, model, other)
        rows += _ratio(f"{model}: {BOUND} / {other}", ours, theirs, limit)
    for model, limit in SHARE_OF_BEST_PEER.items():
        for mine, runtimes, most in ((BOUND, PEERS, limit), (DEFAULT, PEERS_ARRAYS, None)):
            best = _best(found, model, runtimes)
            if best is not None:
                ours, theirs = p50(found, model, mine), p50(found, model, best)
                rows += _ratio(f"{model}: {mine} / {best}, the best peer", ours, theirs, most)
    return rows


def _peers(found: Found) -> list[Row]:
    rows = []
    for peer in PEERS:
        behind = 0
        for model in LARGE_MODELS:
            ours, theirs = p50(found, model, BOUND), p50(found, model, peer)
            ratio = _ratio(f"{model}: {BOUND} / {peer}", ours, theirs, None)
            rows += ratio
            behind += any(row.figure > 1 for row in ratio)
        if peer in (ONNX, LITERT) and all(p50(found, model, BOUND) for model in LARGE_MODELS):
            what = f"models where {peer} is ahead, of {', '.join(LARGE_MODELS)}"
            rows.append(Row(SECTION, what, behind, "models", limit=1))
    return rows


def _starts(found: Found) -> list[Row]:
    starts = found.starts.get(START_MODEL, {})

    def ratio(ours: str, theirs: str, limit: float) -> list[Row]:
        what = f"{START_MODEL}, process start to first answer: {ours} / {theirs}"
        mine, other = (
            [told["process"] for told in starts.get(name, [])] for name in (ours, theirs)
        )
        return _ratio(what, mine, other, limit)

    return [*ratio(DEFAULT, TF2, 1 / 8), *ratio(DEFAULT, ONNX, 1.8), *ratio(SAVED, ONNX, 1.2)]


def _memory(found: Found) -> list[Row]:
    starts = found.starts.get(MEMORY_MODEL, {})
    resident = {
        name: [told["VmRSS"] for told in starts.get(name, [])] for name in (DEFAULT, LIBRARIES)
    }
    if not all(resident.values()):
        return []
    weights = json.loads((KERAS_MODELS / f"{MEMORY_MODEL}.json").read_text())["weight_bytes"]
    allowed = [size + WEIGHTS_FACTOR * weights for size in resident[LIBRARIES]]
    what = f"{MEMORY_MODEL}, resident: {DEFAULT} / ({LIBRARIES} + {WEIGHTS_FACTOR} x weights)"
    return _ratio(what, resident[DEFAULT], allowed, 1)


def _throughput(found: Found) -> list[Row]:
    model, many = THROUGHPUT_MODEL, case_name(1, CALLERS)
    rows = []
    for runtime, alone, factor in (
        (IN_CPP, IN_CPP, 1.7),
        (DEFAULT, DEFAULT, 1.7),
        (BATCHED, DEFAULT, 3),
    ):
        one = _figures(found, model, alone, case_name(1, 1), "rate")
        rates = _figures(found, model, runtime, many, "rate")
        what = f"{model}, throughput: 1 caller of {alone} / {CALLERS} of {runtime}"
        rows += _ratio(what, one, rates, 1 / factor)
        slow, usual = (_figures(found, model, runtime, many, key) for key in ("p99", "p50"))
        rows += _ratio(f"{model}, {CALLERS} callers of {runtime}: p99 / p50", slow, usual, 4)
    return rows
