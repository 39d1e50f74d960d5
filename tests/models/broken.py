"""Saves models that a runtime must refuse with a clean error, each broken in one way.

    python tests/models/broken.py OUT_DIR [NAME ...]

Each is at OUT_DIR/NAME/saved_model. Where there is anything left to call, it is the signature
"serving_default" of the tags ["serve"], with an input "x" of float32 [None, 3] (strings [None] for
the asset) and an output "y". Some fail as they load and some only as they are called.

TensorFlow's Python loaders refuse all but three themselves: they soft-place absent_device on the
CPU unless told not to, and invalid_dtype and negative_dimension are in a part of the signature that
they do not read. OUT_DIR/complete is written last.
"""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

Builder = Callable[[Path], None]
BROKEN: dict[str, Builder] = {}


def broken(build: Builder) -> Builder:
    """Registers a builder under its function's name."""
    BROKEN[build.__name__] = build
    return build


def save_linear(path: Path) -> None:
    """A sound TF2 model with a variable, whose nodes are in a library function."""
    from zoo.layout import save_linear as save

    save(str(path))


def save_graph(path: Path) -> None:
    """A sound TF1 model without variables, whose nodes are in the graph itself."""
    import tensorflow as tf

    from zoo.tf1 import save_session, session, signature_def

    with session() as running:
        x = tf.compat.v1.placeholder(tf.float32, [None, 3], name="x")
        weight = tf.constant([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], name="weight")
        product = tf.compat.v1.matmul(x, weight, name="product")
        y = tf.identity(product, name="y")
        save_session(str(path), running, {"serving_default": signature_def({"x": x}, {"y": y})})


def edit(path: Path, change: Callable[[SavedModel], None]) -> None:
    """Rewrites saved_model.pb with a change that TensorFlow would not have saved."""
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    file = path / "saved_model.pb"
    proto = SavedModel.FromString(file.read_bytes())
    change(proto)
    file.write_bytes(proto.SerializeToString())


def node(proto: SavedModel, name: str) -> Any:
    """A NodeDef of the first MetaGraph."""
    return next(n for n in proto.meta_graphs[0].graph_def.node if n.name == name)


def default_signature(proto: SavedModel) -> Any:
    return proto.meta_graphs[0].signature_def["serving_default"]


@broken
def truncated_proto(path: Path) -> None:
    """A copy that broke off half way."""
    save_linear(path)
    file = path / "saved_model.pb"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


@broken
def garbage_proto(path: Path) -> None:
    """No protocol buffer at all."""
    save_linear(path)
    (path / "saved_model.pb").write_bytes(bytes(range(255, -1, -1)) * 16)


@broken
def garbage_pbtxt(path: Path) -> None:
    """A text form that is no text."""
    path.mkdir(parents=True)
    (path / "saved_model.pbtxt").write_bytes(b"meta_graphs { \xff\x00 not a field")


@broken
def empty_proto(path: Path) -> None:
    """An empty file, which parses: as a SavedModel with nothing in it."""
    save_linear(path)
    (path / "saved_model.pb").write_bytes(b"")


@broken
def no_proto(path: Path) -> None:
    """A folder with variables but neither saved_model.pb nor saved_model.pbtxt."""
    save_linear(path)
    (path / "saved_model.pb").unlink()


@broken
def file_not_folder(path: Path) -> None:
    """The path is a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"not a folder")


@broken
def missing_variables(path: Path) -> None:
    """The checkpoint is gone, of a model that has variables."""
    save_linear(path)
    shutil.rmtree(path / "variables")


@broken
def missing_shard(path: Path) -> None:
    """The checkpoint's index is there, its data is not."""
    save_linear(path)
    (path / "variables" / "variables.data-00000-of-00001").unlink()


@broken
def truncated_shard(path: Path) -> None:
    """The checkpoint's data ends before the index says."""
    save_linear(path)
    file = path / "variables" / "variables.data-00000-of-00001"
    file.write_bytes(file.read_bytes()[:8])


@broken
def corrupt_shard(path: Path) -> None:
    """The data has its size but not its checksum."""
    save_linear(path)
    file = path / "variables" / "variables.data-00000-of-00001"
    file.write_bytes(bytes(255 - byte for byte in file.read_bytes()))


@broken
def garbage_index(path: Path) -> None:
    """The checkpoint's index is no table."""
    save_linear(path)
    (path / "variables" / "variables.index").write_bytes(b"\xde\xad\xbe\xef" * 64)


@broken
def absent_device(path: Path) -> None:
    """A node pinned to a device that this machine does not have."""
    save_graph(path)
    edit(path, lambda proto: setattr(node(proto, "product"), "device", "/device:GPU:7"))


@broken
def unknown_op(path: Path) -> None:
    """An op that no TensorFlow has, in the graph."""
    save_graph(path)
    edit(path, lambda proto: setattr(node(proto, "product"), "op", "NoSuchOp"))


@broken
def unknown_op_in_function(path: Path) -> None:
    """An op that no TensorFlow has, in every library function that multiplies."""
    save_linear(path)

    def change(proto: SavedModel) -> None:
        for function in proto.meta_graphs[0].graph_def.library.function:
            for definition in function.node_def:
                if definition.op == "MatMul":
                    definition.op = "NoSuchOp"

    edit(path, change)


@broken
def no_cpu_kernel(path: Path) -> None:
    """An op that TensorFlow knows, but only for GPUs."""
    import tensorflow as tf

    from zoo.tf1 import save_session, session, signature_def

    with session() as running:
        x = tf.compat.v1.placeholder(tf.float32, [None, 3], name="x")
        y = tf.raw_ops.NcclAllReduce(input=x, reduction="sum", num_devices=1, shared_name="all")
        save_session(str(path), running, {"serving_default": signature_def({"x": x}, {"y": y})})


@broken
def no_kernel_for_dtype(path: Path) -> None:
    """An op with CPU kernels, but none for the dtype it is given."""
    import tensorflow as tf

    from zoo.registry import save, signature

    @signature(x=([None, 3], tf.float32))
    def narrow(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": tf.cast(tf.transpose(tf.cast(x, tf.qint8)), tf.float32)}

    save(str(path), narrow)


@broken
def signature_of_absent_tensor(path: Path) -> None:
    """An output whose tensor is in no node of the graph."""
    save_graph(path)

    def change(proto: SavedModel) -> None:
        default_signature(proto).outputs["y"].name = "nowhere:0"

    edit(path, change)


@broken
def signature_of_absent_output(path: Path) -> None:
    """An output slot that its node does not have."""
    save_graph(path)

    def change(proto: SavedModel) -> None:
        default_signature(proto).outputs["y"].name = "y:5"

    edit(path, change)


@broken
def signature_without_tensor_name(path: Path) -> None:
    """An input whose TensorInfo has no encoding set."""
    save_graph(path)

    def change(proto: SavedModel) -> None:
        default_signature(proto).inputs["x"].ClearField("name")

    edit(path, change)


@broken
def invalid_dtype(path: Path) -> None:
    """A dtype number that is in no version of the enum."""
    save_graph(path)

    def change(proto: SavedModel) -> None:
        default_signature(proto).inputs["x"].dtype = 9999

    edit(path, change)


@broken
def negative_dimension(path: Path) -> None:
    """A dimension of -7, where only -1 has a meaning."""
    save_graph(path)

    def change(proto: SavedModel) -> None:
        default_signature(proto).inputs["x"].tensor_shape.dim[1].size = -7

    edit(path, change)


@broken
def no_meta_graph(path: Path) -> None:
    """A SavedModel with its schema version and no MetaGraph."""
    save_graph(path)
    edit(path, lambda proto: proto.ClearField("meta_graphs"))


@broken
def no_serve_tag(path: Path) -> None:
    """Two MetaGraphs to choose from, neither of them "serve"."""
    save_graph(path)

    def change(proto: SavedModel) -> None:
        proto.meta_graphs.add().CopyFrom(proto.meta_graphs[0])
        for meta_graph, tags in zip(proto.meta_graphs, (["train"], ["eval", "gpu"]), strict=True):
            meta_graph.meta_info_def.tags[:] = tags

    edit(path, change)


@broken
def wrong_constant_size(path: Path) -> None:
    """A Const of six floats with the bytes of two and a half."""
    save_graph(path)

    def change(proto: SavedModel) -> None:
        value = node(proto, "weight").attr["value"].tensor
        if len(value.tensor_content) != 24:
            raise RuntimeError(f"unexpected form of the constant: {value}")
        value.tensor_content = value.tensor_content[:10]

    edit(path, change)


@broken
def huge_constant(path: Path) -> None:
    """A Const whose shape says far more elements than any memory holds."""
    save_graph(path)

    def change(proto: SavedModel) -> None:
        value = node(proto, "weight").attr["value"].tensor
        value.tensor_shape.dim[0].size = 1 << 40
        value.tensor_shape.dim[1].size = 1 << 40

    edit(path, change)


@broken
def dangling_input(path: Path) -> None:
    """A node that takes its input from one that does not exist."""
    save_graph(path)

    def change(proto: SavedModel) -> None:
        node(proto, "product").input[0] = "nobody"

    edit(path, change)


@broken
def graph_cycle(path: Path) -> None:
    """Two nodes that wait for each other."""
    save_graph(path)

    def change(proto: SavedModel) -> None:
        node(proto, "product").input[0] = "y"

    edit(path, change)


@broken
def missing_function(path: Path) -> None:
    """Calls of functions that the library does not hold."""
    save_linear(path)

    def change(proto: SavedModel) -> None:
        proto.meta_graphs[0].graph_def.library.ClearField("function")

    edit(path, change)


@broken
def missing_asset(path: Path) -> None:
    """A table's vocabulary file is gone from the assets."""
    import tempfile

    import tensorflow as tf

    from zoo.lookup import WORDS, write_vocabulary
    from zoo.registry import save, signature

    with tempfile.TemporaryDirectory() as folder:
        module = tf.Module()
        module.table = tf.lookup.StaticHashTable(
            tf.lookup.TextFileInitializer(
                write_vocabulary(folder, "vocabulary.txt", WORDS),
                tf.string,
                tf.lookup.TextFileIndex.WHOLE_LINE,
                tf.int64,
                tf.lookup.TextFileIndex.LINE_NUMBER,
            ),
            default_value=-1,
        )

        @signature(x=([None], tf.string))
        def lookup(x: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"y": module.table.lookup(x)}

        save(str(path), lookup, module)
    (path / "assets" / "vocabulary.txt").unlink()


@broken
def asset_outside(path: Path) -> None:
    """An asset whose file name leads out of the SavedModel."""
    missing_asset(path)

    def change(proto: SavedModel) -> None:
        proto.meta_graphs[0].asset_file_def[0].filename = "/etc/passwd"

    edit(path, change)


@broken
def default_of_another_dtype(path: Path) -> None:
    """A default value that its own input would refuse."""
    import tensorflow as tf

    save_linear(path)

    def change(proto: SavedModel) -> None:
        default_signature(proto).defaults["x"].CopyFrom(tf.make_tensor_proto([[1, 2, 3]]))

    edit(path, change)


def call_node(function: Any, name: str, callee: str) -> None:
    """Adds a node that calls another function, without arguments or results."""
    call = function.node_def.add(name=name, op="StatefulPartitionedCall")
    call.attr["f"].func.name = callee
    call.attr["Tin"].list.SetInParent()
    call.attr["Tout"].list.SetInParent()


@broken
def recursive_function(path: Path) -> None:
    """A function that calls itself, which TensorFlow follows until the stack ends."""
    save_linear(path)

    def change(proto: SavedModel) -> None:
        for function in proto.meta_graphs[0].graph_def.library.function:
            call_node(function, "again", function.signature.name)

    edit(path, change)


@broken
def deep_calls(path: Path) -> None:
    """A hundred thousand functions, each called by the one before."""
    save_linear(path)

    def change(proto: SavedModel) -> None:
        library = proto.meta_graphs[0].graph_def.library
        for depth in range(100_000):
            function = library.function.add()
            function.signature.name = f"deep_{depth}"
            if depth:
                call_node(function, "next", f"deep_{depth - 1}")

    edit(path, change)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out_dir", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: every model")
    arguments = parser.parse_args()

    # TensorFlow reads these once, as it is imported.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
    unknown = [name for name in arguments.names if name not in BROKEN]
    if unknown:
        parser.error(f"no such model: {', '.join(unknown)}")
    complete = arguments.out_dir / "complete"
    complete.unlink(missing_ok=True)
    for name in arguments.names or BROKEN:
        folder = arguments.out_dir / name
        shutil.rmtree(folder, ignore_errors=True)
        BROKEN[name](folder / "saved_model")
        print(name, flush=True)
    complete.touch()


if __name__ == "__main__":
    main()
