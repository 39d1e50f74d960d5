"""`inspect`: what a SavedModel holds, without loading it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from savedmodel._native import SignatureDef
    from savedmodel.specs import Fingerprint

__all__ = [
    "ArgumentInfo",
    "CheckpointEntry",
    "CollectionInfo",
    "ConcreteFunctionInfo",
    "Inspection",
    "MetaGraphInfo",
    "NodeInfo",
    "SaverInfo",
    "SignatureDefInfo",
    "TensorInfo",
    "VariableInfo",
    "inspect",
]

Shape = tuple[int | None, ...] | None


class ArgumentInfo(NamedTuple):
    """An argument that a concrete function was traced with, or a part of one.

    `type`: the name of its class in TensorFlow's Python: "TensorSpec", "bool", "list". `name`: of a
    TensorSpec. `text`: as Python writes it; a str without quotes. `elements`: of lists, tuples and
    dicts, with the keys of a dict, else "".
    """

    type: str
    name: str
    text: str
    elements: Sequence[tuple[str, ArgumentInfo]]


class ConcreteFunctionInfo(NamedTuple):
    """One trace of a tf.function.

    `inputs` and `outputs` are its structured signature in TensorFlow's notation:
    "((TensorSpec(shape=(None, 3), dtype=tf.float32, name='x'),), {})". `arguments` and
    `keyword_arguments`: the inputs one by one.
    """

    name: str
    inputs: str
    outputs: str
    arguments: Sequence[ArgumentInfo]
    keyword_arguments: Mapping[str, ArgumentInfo]


class TensorInfo(NamedTuple):
    """A TensorInfo of a SignatureDef as it was saved.

    `name`: of the tensor in the graph; empty for a composite one. `dtype`: TensorFlow's enumerator,
    "DT_FLOAT".
    """

    name: str
    dtype: str
    shape: Shape


class SignatureDefInfo(NamedTuple):
    """A SignatureDef as it was saved: composite tensors are whole, and the init op is one."""

    method_name: str
    inputs: Mapping[str, TensorInfo]
    outputs: Mapping[str, TensorInfo]


class NodeInfo(NamedTuple):
    """A node of the graph, or of the function named.

    `use`: "called" if signatures, functions of the object graph or the init op can run it;
    "restore" if only the saver does, where it reads the variables files; "save" if only where it
    writes them; "dead" if nothing does.

    `constants`: the inputs whose strings are constants, number of the input -> string; of a vector
    the first string, of a long one the first 1024 bytes. Identities and calls in between are
    followed, as far as 100 nodes; of several callers one may be enough. What the loader feeds is
    none: `fed`, number of the input -> "asset" (the path of an asset) or "variables" (that of the
    variables files, or what savers make of it to write parts), if the input can be nothing else.
    """

    name: str
    op: str
    function: str
    use: str
    constants: Mapping[int, str]
    fed: Mapping[int, str]


class VariableInfo(NamedTuple):
    """A variable.

    `path`: the attributes that lead to it ("layers.0.kernel"); the node's name in a TF1 graph,
    which has no objects. `dtype`: TensorFlow's name of it. `shape`: None for an unknown rank.
    `device`: empty where none was asked for.
    """

    path: str
    name: str
    dtype: str
    shape: Shape
    trainable: bool
    device: str


class CollectionInfo(NamedTuple):
    """A collection of a TF1 graph: its kind of list, its length, the names if it holds nodes."""

    kind: str
    size: int
    nodes: Sequence[str]


class SaverInfo(NamedTuple):
    """SaverDef: the nodes that write and read the variables files."""

    filename_tensor_name: str
    save_tensor_name: str
    restore_op_name: str
    sharded: bool
    max_to_keep: int
    version: int


class MetaGraphInfo(NamedTuple):
    """One MetaGraph of a SavedModel.

    `tags`: in the file's order. `signatures`: name -> SignatureDef, whose inputs and outputs are
    TensorSpecs; `signature_defs`: the same as they were saved. `functions`: the attributes that
    lead to a tf.function ("layers.0.call") -> its concrete functions, in the order in which
    TensorFlow's Python loads them; `root_functions`: attribute of the root -> the path of the
    function that it is. `tables`: path -> the op that creates it.
    `assets`: the tensor that is fed the path of an asset while loading -> file name under
    `assets/`. `ops`: op -> how many nodes of the graph and of all function bodies have it.
    `called_ops`: those that the graph reaches by plain calls, as `saved_model_cli` lists them.
    `nodes`: those that `list_nodes` asked for. `num_nodes` are those of the graph itself.
    `init_op`: empty if there is none.
    """

    tags: Sequence[str]
    tensorflow_version: str
    tensorflow_git_version: str
    producer: int
    min_consumer: int
    signatures: Mapping[str, SignatureDef]
    signature_defs: Mapping[str, SignatureDefInfo]
    functions: Mapping[str, Sequence[ConcreteFunctionInfo]]
    root_functions: Mapping[str, str]
    variables: Sequence[VariableInfo]
    tables: Mapping[str, str]
    assets: Mapping[str, str]
    ops: Mapping[str, int]
    called_ops: Sequence[str]
    nodes: Sequence[NodeInfo]
    num_nodes: int
    num_functions: int
    num_objects: int
    init_op: str
    collections: Mapping[str, CollectionInfo]
    saver: SaverInfo | None

    def __str__(self) -> str:
        """Every signature, function, variable, table and op, a line each."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield (
            f"MetaGraph {_braced(self.tags)}: TensorFlow {self.tensorflow_version or '?'}, "
            f"producer {self.producer}, {self.num_nodes} nodes, {self.num_functions} functions, "
            f"{self.num_objects} objects"
        )
        for name, signature in self.signatures.items():
            yield f"  signature '{name}' ({signature.method_name})"
            for kind, specs in (("input", signature.inputs), ("output", signature.outputs)):
                for key, spec in specs.items():
                    # NumPy's dtype of strings says no more than that they are objects.
                    dtype = "string" if spec.dtype == object else spec.dtype or "resource"
                    shape = "of unknown rank" if spec.shape is None else spec.shape
                    yield f"    {kind} '{key}': {dtype} {shape}, {spec.name}"
        for path, traces in self.functions.items():
            yield f"  function '{path}'"
            for trace in traces:
                yield f"    {trace.inputs} -> {trace.outputs}"
        for variable in self.variables:
            shape = "of unknown rank" if variable.shape is None else variable.shape
            trainable = "" if variable.trainable else ", not trainable"
            yield f"  variable '{variable.path}': {variable.dtype} {shape}{trainable}"
        for path, op in self.tables.items():
            yield f"  table '{path}': {op or 'unknown'}"
        for tensor, file in self.assets.items():
            yield f"  asset '{file}', fed to {tensor}"
        for name, collection in self.collections.items():
            yield f"  collection '{name}': {collection.size} of a {collection.kind}"
        if self.init_op:
            yield f"  init op: {self.init_op}"
        if self.saver is not None:
            yield f"  saver: {self.saver.restore_op_name}, format {self.saver.version}"
        yield "  ops: " + ", ".join(f"{op} {count}" for op, count in self.ops.items())


class CheckpointEntry(NamedTuple):
    """A tensor of the variables files.

    `dtype`: TensorFlow's name of it. `shard`: the number of the data file that holds it; of a
    tensor that was saved in parts, of the first. `slices`: of such a tensor, the parts; each says
    start and length by dimension, and "-" for all of it ("0,64:-").
    """

    dtype: str
    shape: tuple[int, ...]
    bytes: int
    shard: int
    slices: Sequence[str]


class Inspection(NamedTuple):
    """What a SavedModel holds. Its str() lists everything.

    `path`: the SavedModel directory, or the archive. `versions`: those that were there to choose
    from, if `path` was found among several. `format`: of the saved_model file: "pb", "pbtxt" or
    "cpb". `files`: path under the directory -> bytes. `checkpoint`: key -> what the index of the
    variables files says. `num_shards`: how many data files these are. `extra_assets`: paths of
    the files under `assets.extra/`.
    """

    path: str
    versions: Sequence[int]
    format: str
    files: Mapping[str, int]
    meta_graphs: Sequence[MetaGraphInfo]
    checkpoint: Mapping[str, CheckpointEntry]
    num_shards: int
    fingerprint: Fingerprint | None
    extra_assets: Sequence[str]
    has_debug_info: bool
    has_keras_metadata: bool
    has_warmup_requests: bool

    def __repr__(self) -> str:
        """One line: the records themselves would be thousands."""
        tag_sets = ", ".join(_braced(meta_graph.tags) for meta_graph in self.meta_graphs)
        return f"<savedmodel.Inspection of '{self.path}': {tag_sets}>"

    def __str__(self) -> str:
        """Everything, a line each."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield f"SavedModel '{self.path}', {self.format}"
        if self.versions:
            yield f"versions: {', '.join(map(str, self.versions))}"
        for file, size in self.files.items():
            yield f"file '{file}': {size:,} bytes"
        if self.fingerprint is not None:
            yield f"fingerprint: {', '.join(_fields(self.fingerprint))}"
        for has, what in (
            (self.has_debug_info, "debug information"),
            (self.has_keras_metadata, "Keras metadata, which is not used"),
            (self.has_warmup_requests, "requests to warm up with"),
        ):
            if has:
                yield f"with {what}"
        for meta_graph in self.meta_graphs:
            yield str(meta_graph)
        if self.checkpoint:
            size = sum(entry.bytes for entry in self.checkpoint.values())
            yield (
                f"checkpoint: {len(self.checkpoint)} tensors, {size:,} bytes in "
                f"{self.num_shards} file{'s' if self.num_shards != 1 else ''}"
            )
        for key, entry in self.checkpoint.items():
            slices = f" in {len(entry.slices)} slices" if entry.slices else ""
            yield f"  '{key}': {entry.dtype} {entry.shape}{slices}, {entry.bytes:,} bytes"


def _braced(tags: Iterable[str]) -> str:
    return "{" + ", ".join(repr(tag) for tag in sorted(tags)) + "}"


def _fields(record: Fingerprint) -> Iterator[str]:
    for name, value in record._asdict().items():
        yield f"{name} {value}"


def inspect(
    path: str | os.PathLike[str],
    version: int | None = None,
    list_nodes: Iterable[str] = (),
) -> Inspection:
    """Tells what a SavedModel holds, without a session and without reading its variables.

    Much cheaper than loading: the large `libtensorflow_cc` is not needed.

    Args:
        path: as `savedmodel.load` takes it.
        version: the number of a version to look at in place of the highest.
        list_nodes: ops; the nodes that have them are listed in `MetaGraphInfo.nodes`.

    Raises:
        NotFoundError: no such directory or version.
        DataLossError: a file that cannot be read, or an object graph that contradicts itself.
        InvalidArgumentError: a signature with dtypes or shapes that are none.
    """
    from savedmodel import _native, archive

    ops = list(list_nodes)
    unpacked = archive.unpack(path)
    if unpacked is None:
        return _native.inspect(path, version, ops)
    with unpacked:
        return _native.inspect(unpacked.folder, version, ops)._replace(path=unpacked.path)
