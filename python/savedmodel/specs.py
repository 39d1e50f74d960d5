"""Plain records that describe a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np

__all__ = ["CopyStats", "Fingerprint", "LoadPhase", "TensorSpec"]


class TensorSpec(NamedTuple):
    """What a signature says of one input or output.

    `name`: the tensor's name in the graph ("serving_default_x:0"), or the input's own name in
    `structured_input_signature` and `structured_outputs`. `dtype`: a NumPy dtype (object for
    strings). `shape`: a tuple with None for unknown sizes, or None for an unknown rank.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | None, ...] | None


class Fingerprint(NamedTuple):
    """The fields of `fingerprint.pb` (tensorflow/core/protobuf/fingerprint.proto)."""

    saved_model_checksum: int
    graph_def_program_hash: int
    signature_def_hash: int
    saved_object_graph_hash: int
    checkpoint_hash: int
    version_producer: int
    uuid: str


class LoadPhase(NamedTuple):
    """One phase of loading: how long it took and how many bytes it read from disk."""

    seconds: float
    bytes: int


class CopyStats(NamedTuple):
    """How many tensors were copied on the way in or out, and how many bytes that was.

    `by_reason`: reason -> (count, bytes). The reasons: `misaligned`, `non_contiguous`,
    `byte_order` (inputs whose memory TensorFlow cannot read as it is), `python_object`
    (numbers, lists), `string` (both ways), `requested` (`copy=True`), `out` (`out=`), `shared`
    (an output that the graph may write in place later), `retained` (an input that the graph
    keeps beyond the call).
    """

    count: int  # type: ignore[assignment]  # a tuple's own count() is of no use here
    bytes: int
    by_reason: dict[str, tuple[int, int]]
