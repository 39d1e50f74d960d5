"""Saves models that a runtime must refuse with a clean error, each broken in one way.

    python tests/models/broken.py OUT_DIR [NAME ...]

Each is at OUT_DIR/NAME/saved_model. Where there is anything left to call, it is the signature
"serving_default" of the tags ["serve"], with an input "x" of float32 [None, 3] (strings [None] for
the asset) and an output "y". Some fail as they load and some only as they are called.

TensorFlow's Python loaders refuse all but three themselves: they soft-place absent_device on the
CPU unless told not to, and invalid_dtype and negative_dimension are in a part of the signature that
they do not read. The models whose object graph contradicts itself, at the end, may be refused or
answer. OUT_DIR/complete is written last.
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
def constant_without_value(path: Path) -> None:
    """A constant of nothing."""
    save_graph(path)
    edit(path, lambda proto: node(proto, "weight").attr.pop("value"))


@broken
def case_without_branches(path: Path) -> None:
    """A choice between no functions."""
    save_graph(path)
    edit(
        path,
        lambda proto: proto.meta_graphs[0].graph_def.node.add(
            name="case", op="StatelessCase", input=["weight"]
        ),
    )


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
def unfilled_variable(path: Path) -> None:
    """A variable that a signature reads, and that no restore op and no object stands for."""
    import tensorflow as tf

    from zoo.registry import save, signature

    module = tf.Module()
    module.weight = tf.Variable(2.0, name="weight")

    @signature(x=([None], tf.float32))
    def scale(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": module.weight * x}

    save(str(path), scale, module)

    def change(proto: SavedModel) -> None:
        meta_graph = proto.meta_graphs[0]
        meta_graph.saver_def.ClearField("restore_op_name")
        for child in meta_graph.object_graph_def.nodes[0].children:
            child.local_name = f"renamed_{child.local_name}"

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


def rewrite_checkpoint(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Writes the variables files anew, with other tensors."""
    import tensorflow as tf

    prefix = str(path / "variables" / "variables")
    reader = tf.train.load_checkpoint(prefix)
    tensors = {key: reader.get_tensor(key) for key in reader.get_variable_to_shape_map()}
    change(tensors)
    for file in (path / "variables").iterdir():
        file.unlink()
    written = prefix + "_part"
    tf.raw_ops.SaveV2(
        prefix=written,
        tensor_names=list(tensors),
        shape_and_slices=[""] * len(tensors),
        tensors=[tf.constant(value) for value in tensors.values()],
    )
    tf.raw_ops.MergeV2Checkpoints(checkpoint_prefixes=[written], destination_prefix=prefix)


WEIGHT = "weight/.ATTRIBUTES/VARIABLE_VALUE"


@broken
def missing_key(path: Path) -> None:
    """A checkpoint without one of the variables."""
    save_linear(path)
    rewrite_checkpoint(path, lambda tensors: tensors.pop(WEIGHT))


@broken
def wrong_shape(path: Path) -> None:
    """A variable that has another shape in the checkpoint than in the graph."""
    save_linear(path)
    rewrite_checkpoint(path, lambda tensors: tensors.update({WEIGHT: tensors[WEIGHT][:2]}))


@broken
def wrong_dtype(path: Path) -> None:
    """A variable that has another dtype in the checkpoint than in the graph."""
    save_linear(path)
    rewrite_checkpoint(
        path, lambda tensors: tensors.update({WEIGHT: tensors[WEIGHT].astype("float64")})
    )


@broken
def flipped_bit(path: Path) -> None:
    """One bit of the checkpoint's data is another."""
    save_linear(path)
    file = path / "variables" / "variables.data-00000-of-00001"
    data = bytearray(file.read_bytes())
    data[3] ^= 1
    file.write_bytes(data)


@broken
def truncated_index(path: Path) -> None:
    """The checkpoint's index broke off half way."""
    save_linear(path)
    file = path / "variables" / "variables.index"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def edit_index(path: Path, key: str, change: Callable[[Any], bytes]) -> None:
    """Rewrites what the checkpoint's index says of a tensor, and adds the data that it gives."""
    from tensorflow.core.protobuf.tensor_bundle_pb2 import BundleEntryProto

    from table_file import read_table, write_table

    index = path / "variables" / "variables.index"
    data = path / "variables" / "variables.data-00000-of-00001"
    entries = read_table(index.read_bytes())
    entry = BundleEntryProto.FromString(entries[key.encode()])
    entry.offset = data.stat().st_size
    added = change(entry)
    entry.size = len(added)
    data.write_bytes(data.read_bytes() + added)
    entries[key.encode()] = entry.SerializeToString()
    index.write_bytes(write_table(entries))


OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
WEIGHT = "weight/.ATTRIBUTES/VARIABLE_VALUE"


@broken
def huge_string(path: Path) -> None:
    """A string of the checkpoint that says it is longer than any memory."""
    from table_file import varint

    save_linear(path)
    edit_index(path, OBJECT_GRAPH, lambda _: varint(1 << 62) + bytes(20))


@broken
def too_many_strings(path: Path) -> None:
    """A tensor of a quarter of a billion strings in nine bytes."""
    save_linear(path)

    def change(entry: Any) -> bytes:
        entry.shape.dim.add(size=1 << 28)
        return bytes(9)

    edit_index(path, OBJECT_GRAPH, change)


@broken
def negative_slice(path: Path) -> None:
    """A partitioned tensor with a slice of length -3."""
    save_linear(path)

    def change(entry: Any) -> bytes:
        extent = entry.slices.add().extent
        for dim in entry.shape.dim:
            extent.add(start=0, length=dim.size)
        extent[0].length = -3
        return b""

    edit_index(path, WEIGHT, change)


@broken
def tensor_of_variants(path: Path) -> None:
    """A tensor whose dtype holds objects, with data that is none."""
    import tensorflow as tf

    save_linear(path)

    def change(entry: Any) -> bytes:
        entry.dtype = tf.variant.as_datatype_enum
        return bytes(24)

    edit_index(path, WEIGHT, change)


# Object graphs that contradict themselves. The signature needs none of it, so that its right
# answer is as good as an error.


def edit_objects(path: Path, change: Callable[[Any], None]) -> None:
    save_linear(path)
    edit(path, lambda proto: change(proto.meta_graphs[0].object_graph_def))


def variable_child(objects: Any) -> Any:
    """The reference from the root to the variable `weight`."""
    return next(c for c in objects.nodes[0].children if c.local_name == "weight")


@broken
def object_that_holds_itself(path: Path) -> None:
    """Children that lead back: legal, and never to be followed without end."""

    def change(objects: Any) -> None:
        objects.nodes[0].children.add(node_id=0, local_name="itself")
        objects.nodes[variable_child(objects).node_id].children.add(node_id=0, local_name="root")

    edit_objects(path, change)


@broken
def child_out_of_range(path: Path) -> None:
    """A child that is a node behind the last."""
    edit_objects(path, lambda objects: setattr(variable_child(objects), "node_id", 1_000_000))


@broken
def negative_child(path: Path) -> None:
    """A child that is a node before the first."""
    edit_objects(path, lambda objects: setattr(variable_child(objects), "node_id", -1))


@broken
def dependency_out_of_range(path: Path) -> None:
    """An object that must be restored after one that does not exist."""
    edit_objects(
        path, lambda objects: objects.nodes[0].dependencies.add(node_id=-7, local_name="absent")
    )


@broken
def slot_variable_out_of_range(path: Path) -> None:
    """An optimizer's slot of a variable that does not exist."""

    def change(objects: Any) -> None:
        objects.nodes[0].slot_variables.add(
            original_variable_node_id=999, slot_name="m", slot_variable_node_id=-2
        )

    edit_objects(path, change)


@broken
def bound_input_out_of_range(path: Path) -> None:
    """A function that captures nodes that do not exist."""

    def change(objects: Any) -> None:
        for function in objects.concrete_functions.values():
            function.bound_inputs[:] = [10**6, -1][: len(function.bound_inputs)]

    edit_objects(path, change)


@broken
def bound_input_of_another_kind(path: Path) -> None:
    """A function that captures the root object in place of its variables."""

    def change(objects: Any) -> None:
        for function in objects.concrete_functions.values():
            function.bound_inputs[:] = [0] * len(function.bound_inputs)

    edit_objects(path, change)


@broken
def too_few_captures(path: Path) -> None:
    """A function that captures less than its body takes."""

    def change(objects: Any) -> None:
        for function in objects.concrete_functions.values():
            del function.bound_inputs[1:]

    edit_objects(path, change)


@broken
def too_many_captures(path: Path) -> None:
    """A function that captures more than its body takes."""

    def change(objects: Any) -> None:
        for function in objects.concrete_functions.values():
            function.bound_inputs.extend(list(function.bound_inputs) * 3)

    edit_objects(path, change)


@broken
def unlisted_concrete_function(path: Path) -> None:
    """Functions of the object graph whose traces it does not list."""
    edit_objects(path, lambda objects: objects.concrete_functions.clear())


@broken
def concrete_function_without_body(path: Path) -> None:
    """A trace that is no function of the library."""

    def change(objects: Any) -> None:
        for name, function in list(objects.concrete_functions.items()):
            objects.concrete_functions["absent_" + name].CopyFrom(function)
            del objects.concrete_functions[name]
        for node in objects.nodes:
            if node.HasField("bare_concrete_function"):
                bare = node.bare_concrete_function
                bare.concrete_function_name = "absent_" + bare.concrete_function_name

    edit_objects(path, change)


@broken
def variable_of_no_dtype(path: Path) -> None:
    """A variable's object with a dtype and a shape that are none."""

    def change(objects: Any) -> None:
        variable = objects.nodes[variable_child(objects).node_id].variable
        variable.dtype = 9999
        variable.shape.dim[0].size = -7

    edit_objects(path, change)


@broken
def no_objects(path: Path) -> None:
    """An object graph without even a root."""
    edit_objects(path, lambda objects: objects.ClearField("nodes"))


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
