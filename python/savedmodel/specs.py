"""Plain records that describe a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import numpy.typing as npt

__all__ = [
    "BatchStats",
    "CopyStats",
    "Fingerprint",
    "LoadPhase",
    "LoadReport",
    "OptimizeReport",
    "RaggedTensorValue",
    "Runner",
    "SparseTensorValue",
    "TensorSpec",
]


class TensorSpec(NamedTuple):
    """What a signature says of one input or output.

    `name`: the tensor's name in the graph ("serving_default_x:0"), or the input's own name in
    `structured_input_signature` and `structured_outputs`. `dtype`: a NumPy dtype (object for
    strings). `shape`: a tuple with None for unknown sizes, or None for an unknown rank.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | None, ...] | None


class SparseTensorValue(NamedTuple):
    """A sparse tensor, as functions take and return it.

    `indices`: int64 of shape (n, rank), in row-major order. `values`: of shape (n,).
    `dense_shape`: int64 of shape (rank,). TensorFlow's `tf.compat.v1.SparseTensorValue` is taken
    as well.
    """

    indices: npt.ArrayLike
    values: npt.ArrayLike
    dense_shape: npt.ArrayLike


class RaggedTensorValue(NamedTuple):
    """A ragged tensor, as functions take and return it.

    Row `i` is `values[row_splits[i]:row_splits[i + 1]]`. `values`: an array, or another
    `RaggedTensorValue` where rows hold rows of different lengths themselves. `row_splits`: int64
    (or int32, if the function was saved so), from 0 to the number of values.
    """

    values: npt.ArrayLike | RaggedTensorValue
    row_splits: npt.ArrayLike


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


class OptimizeReport(NamedTuple):
    """What `Model.save_optimized` made of the variables.

    `variables_kept`: the node of each variable or table that stays one -> why.
    """

    variables_frozen: int
    bytes_frozen: int
    variables_kept: Mapping[str, str]


class Runner(NamedTuple):
    """What answers a signature's calls.

    `name`: "engine", which runs TensorFlow's kernels one by one on the caller's thread, or
    "session", which runs every graph. `reason`: why it is the session, "" for the engine.
    """

    name: str
    reason: str


class LoadReport(dict[str, LoadPhase]):
    """What loading did: phase -> seconds and bytes read from disk.

    "library": TensorFlow's runtime, with a process's first model that needs it. "read":
    `saved_model.pb`. "optimize": making signatures ready for the engine. "create": the session.
    "restore": the variables. "init": the tables. "warmup": with `load(..., warmup=True)`.

    `repairs`: the variables that signatures or functions read, that the SavedModel's own restore
    op leaves without a value, and that were restored all the same (Keras 3 saves such models with
    `tf.saved_model.save`); each as "name (key in the checkpoint)". `bytes_restored`: of the
    variables that were read. `bytes_saved`: of those in the checkpoint that were not, because
    nothing needs them.
    """

    def __init__(
        self,
        phases: dict[str, LoadPhase],
        repairs: list[str],
        bytes_restored: int,
        bytes_saved: int,
    ) -> None:
        super().__init__(phases)
        self.repairs = repairs
        self.bytes_restored = bytes_restored
        self.bytes_saved = bytes_saved

    def __repr__(self) -> str:
        return (
            f"LoadReport({super().__repr__()}, repairs={self.repairs}, "
            f"bytes_restored={self.bytes_restored}, bytes_saved={self.bytes_saved})"
        )


class BatchStats(NamedTuple):
    """What a `BatchedSignature` has run so far.

    `rows`: of the calls in its `batches`. `padded_rows`: what was added to them.
    """

    batches: int
    rows: int
    padded_rows: int


class CopyStats(NamedTuple):
    """How many tensors were copied on the way in or out, and how many bytes that was.

    `by_reason`: reason -> (count, bytes). The reasons: `misaligned`, `non_contiguous`,
    `byte_order` (inputs whose memory TensorFlow cannot read as it is), `python_object`
    (numbers, lists), `string` (both ways), `requested` (`copy=True`), `out` (`out=`), `shared`
    (an output that the graph may write in place later), `retained` (an input that the graph
    keeps beyond the call), `cast` (an argument of another dtype than a function's input signature
    has).
    """

    count: int  # type: ignore[assignment]  # a tuple's own count() is of no use here
    bytes: int
    by_reason: dict[str, tuple[int, int]]
