"""Makes SavedModels whose ops reach outside the computation, or whose names are hostile.

    python tests/models/dangerous.py FOLDER

makes FOLDER/NAME for each, and FOLDER/ops.txt with the names of all ops that TensorFlow registers.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import op_def_pb2
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
from tensorflow.python.client import pywrap_tf_session

TEXT = tf.TensorSpec([], tf.string, "x")


def while_body(x: tf.Tensor) -> tf.Tensor:
    return tf.while_loop(lambda i, _: i < 2, lambda i, y: (i + 1, y + tf.io.read_file(y)), [0, x])[
        1
    ]


def branch(x: tf.Tensor) -> tf.Tensor:
    def write() -> tf.Tensor:
        tf.io.write_file("/etc/motd", x)
        return x

    return tf.cond(tf.strings.length(x) > 2, write, lambda: x)


def python_callbacks(x: tf.Tensor) -> tf.Tensor:
    y = tf.py_function(lambda text: text, [x], tf.string)
    return tf.numpy_function(lambda text: text, [y], tf.string)


def printing(x: tf.Tensor) -> tf.Tensor:
    tf.print(x)
    return tf.identity(x)


def dataset_function(x: tf.Tensor) -> tf.Tensor:
    lines = tf.data.Dataset.from_tensors(x).map(tf.io.read_file)
    return lines.reduce(tf.constant(""), lambda _, line: line)


def checkpoint_reader(x: tf.Tensor) -> tf.Tensor:
    return tf.raw_ops.RestoreV2(
        prefix=x, tensor_names=["secret"], shape_and_slices=[""], dtypes=[tf.string]
    )[0]


def table_of_any_file(x: tf.Tensor) -> tf.Tensor:
    table = tf.raw_ops.HashTableV2(key_dtype=tf.string, value_dtype=tf.int64)
    tf.raw_ops.InitializeTableFromTextFileV2(
        table_handle=table, filename="/etc/passwd", key_index=-2, value_index=-1
    )
    return tf.raw_ops.LookupTableFindV2(
        table_handle=table, keys=x, default_value=tf.constant(0, tf.int64)
    )


def table_of_a_file_of_the_caller(x: tf.Tensor) -> tf.Tensor:
    @tf.function
    def initialize(table: tf.Tensor, filename: tf.Tensor) -> None:
        tf.raw_ops.InitializeTableFromTextFileV2(
            table_handle=table, filename=filename, key_index=-2, value_index=-1
        )

    table = tf.raw_ops.HashTableV2(key_dtype=tf.string, value_dtype=tf.int64)
    initialize(table, tf.constant("/etc/passwd"))
    return tf.raw_ops.LookupTableFindV2(
        table_handle=table, keys=x, default_value=tf.constant(0, tf.int64)
    )


def table_of_an_input(x: tf.Tensor) -> tf.Tensor:
    table = tf.raw_ops.HashTableV2(key_dtype=tf.string, value_dtype=tf.int64)
    tf.raw_ops.InitializeTableFromTextFileV2(
        table_handle=table, filename=x, key_index=-2, value_index=-1
    )
    return tf.raw_ops.LookupTableSizeV2(table_handle=table)


def cache_in_a_file(x: tf.Tensor) -> tf.Tensor:
    cached = tf.data.Dataset.from_tensors(x).cache("/tmp/" + "long" * 100)
    return cached.reduce(tf.constant(""), lambda _, y: y)


def cache_in_memory(x: tf.Tensor) -> tf.Tensor:
    return tf.data.Dataset.from_tensors(x).cache().reduce(tf.constant(""), lambda _, y: y)


FUNCTIONS: list[Callable[[tf.Tensor], tf.Tensor]] = [
    while_body,
    branch,
    python_callbacks,
    printing,
    dataset_function,
    checkpoint_reader,
    table_of_any_file,
    table_of_a_file_of_the_caller,
    table_of_an_input,
    cache_in_memory,
    cache_in_a_file,
]


def save(function: Callable[[tf.Tensor], tf.Tensor], path: Path) -> None:
    """Save a module with this function, as its only signature too."""
    module = tf.Module()
    module.v = tf.Variable(np.float32(1))
    module.f = tf.function(function, input_signature=[TEXT])
    tf.saved_model.save(module, str(path), signatures={"f": module.f})


def edit(path: Path, change: Callable[[SavedModel], None]) -> None:
    """Change the saved_model.pb of a SavedModel."""
    file = path / "saved_model.pb"
    proto = SavedModel.FromString(file.read_bytes())
    change(proto)
    file.write_bytes(proto.SerializeToString())


def add_unreachable_function(proto: SavedModel) -> None:
    """Give it the body of another function, that nothing calls."""
    library = proto.meta_graphs[0].graph_def.library
    prints = next(f for f in library.function if any(n.op == "PrintV2" for n in f.node_def))
    added = library.function.add()
    added.CopyFrom(prints)
    added.signature.name = "uncalled"


def write_in_the_restore_op(proto: SavedModel) -> None:
    """Let loading write a file, and read one that the loader did not name."""
    library = proto.meta_graphs[0].graph_def.library
    restore = next(f for f in library.function if any(n.op == "RestoreV2" for n in f.node_def))
    name = restore.node_def.add(name="elsewhere", op="Const")
    name.attr["dtype"].type = tf.string.as_datatype_enum
    name.attr["value"].tensor.CopyFrom(tf.make_tensor_proto("/etc/passwd"))
    read = next(node for node in restore.node_def if node.op == "RestoreV2")
    read.input[0] = "elsewhere:output:0"
    written = restore.node_def.add(name="write", op="SaveV2")
    written.input.extend(["file_prefix", *read.input[1:3]])


def join_in_the_restore_op(proto: SavedModel) -> None:
    """Let loading read a file beside another folder than the loader's."""
    library = proto.meta_graphs[0].graph_def.library
    restore = next(f for f in library.function if any(n.op == "RestoreV2" for n in f.node_def))
    suffix = restore.node_def.add(name="suffix", op="Const")
    suffix.attr["dtype"].type = tf.string.as_datatype_enum
    suffix.attr["value"].tensor.CopyFrom(tf.make_tensor_proto("/../../../etc/passwd"))
    join = restore.node_def.add(name="join", op="StringJoin")
    join.input.extend(["file_prefix", "suffix:output:0"])
    join.attr["N"].i = 2
    read = next(node for node in restore.node_def if node.op == "RestoreV2")
    read.input[0] = "join:output:0"


HOSTILE = "\x1b]0;title\x07\n\u202e\x7f"


def name_with_control_characters(proto: SavedModel) -> None:
    """Put what a terminal would obey wherever a name goes."""
    meta_graph = proto.meta_graphs[0]
    meta_graph.meta_info_def.tags.append(HOSTILE)
    meta_graph.meta_info_def.tensorflow_version = HOSTILE
    signature = meta_graph.signature_def["f"]
    signature.method_name = HOSTILE
    signature.inputs[HOSTILE].CopyFrom(signature.inputs["x"])
    signature.inputs[HOSTILE].name = HOSTILE
    meta_graph.signature_def[HOSTILE].CopyFrom(signature)
    meta_graph.graph_def.node.add(name=HOSTILE, op=HOSTILE)
    for function in meta_graph.graph_def.library.function:
        for node in function.node_def:
            if node.op == "PrintV2":
                node.name = HOSTILE
    objects = meta_graph.object_graph_def
    for child in objects.nodes[0].children:
        if child.local_name in ("f", "v"):
            child.local_name += HOSTILE
    for function in objects.concrete_functions.values():
        for argument in function.canonicalized_input_signature.tuple_value.values[:1]:
            argument.tuple_value.values.add().string_value = HOSTILE
            argument.tuple_value.values.add().dict_value.fields[HOSTILE].string_value = HOSTILE
            named = argument.tuple_value.values.add().named_tuple_value
            named.name = HOSTILE
            named.values.add(key=HOSTILE).value.string_value = HOSTILE


def main() -> None:
    """Make them all."""
    folder = Path(sys.argv[1])
    for function in FUNCTIONS:
        save(function, folder / function.__name__)
    for change in (
        add_unreachable_function,
        write_in_the_restore_op,
        join_in_the_restore_op,
        name_with_control_characters,
    ):
        save(printing, folder / change.__name__)
        edit(folder / change.__name__, change)
    ops = op_def_pb2.OpList.FromString(
        pywrap_tf_session.TF_GetBuffer(pywrap_tf_session.TF_GetAllOpList())
    )
    (folder / "ops.txt").write_text("".join(f"{op.name}\n" for op in ops.op))


if __name__ == "__main__":
    main()
