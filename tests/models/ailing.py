"""Saves models for `diagnose`, each with one thing to tell, beside those of broken.py.

    python tests/models/ailing.py OUT_DIR

Each is at OUT_DIR/NAME. Where there is anything left to call, it is the signature "serving_default"
of the tags ["serve"], with an input "x" of float32 [None, 3] and an output "y".
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from broken import edit, rewrite_checkpoint, save_graph, save_linear


def edit_versions(path: Path, change: Callable[[Any], None]) -> None:
    save_graph(path)
    edit(path, lambda proto: change(proto.meta_graphs[0].graph_def.versions))


def newer_producer(path: Path) -> None:
    """Saved by a TensorFlow to come."""
    edit_versions(path, lambda versions: setattr(versions, "producer", 99_999))


def newer_consumer(path: Path) -> None:
    """To be read by a TensorFlow to come."""
    edit_versions(path, lambda versions: setattr(versions, "min_consumer", 99_999))


def bad_consumer(path: Path) -> None:
    """Not to be read by this very TensorFlow."""
    import tensorflow as tf

    version = tf.version.GRAPH_DEF_VERSION
    edit_versions(path, lambda versions: versions.bad_consumers.append(version))


def dead_op(path: Path) -> None:
    """An op that no TensorFlow has, where nothing runs it."""
    save_linear(path)

    def change(proto: Any) -> None:
        function = proto.meta_graphs[0].graph_def.library.function.add()
        function.signature.name = "unused"
        function.node_def.add(name="op", op="NoSuchOp")

    edit(path, change)


def odd_op(path: Path) -> None:
    """An op whose name tells a terminal to be red."""
    save_graph(path)

    def change(proto: Any) -> None:
        for node in proto.meta_graphs[0].graph_def.node:
            if node.op == "MatMul":
                node.op = "No\x1b[31mSuch\nOp"

    edit(path, change)


def worker_in_function(path: Path) -> None:
    """A node of a function pinned to a worker of a cluster."""
    save_linear(path)

    def change(proto: Any) -> None:
        for function in proto.meta_graphs[0].graph_def.library.function:
            for node in function.node_def:
                if node.op == "MatMul":
                    node.device = "/job:worker/replica:0/task:1/device:CPU:0"

    edit(path, change)


def gpu_in_function(path: Path, *, inline: bool = True) -> None:
    """A node of a function pinned to a GPU, for which TensorFlow finds another place."""
    save_linear(path)

    def change(proto: Any) -> None:
        for function in proto.meta_graphs[0].graph_def.library.function:
            if not inline:
                function.attr["_noinline"].b = True
            for node in function.node_def:
                if node.op == "MatMul":
                    node.device = "/device:GPU:7"

    edit(path, change)


def gpu_in_function_of_its_own(path: Path) -> None:
    """The same in a function that is not inlined: there it finds none."""
    gpu_in_function(path, inline=False)


def unknown_op_in_uncalled_function(path: Path) -> None:
    """An op that no TensorFlow has, in a function that no signature calls."""
    import tensorflow as tf

    from zoo.registry import save, signature

    @signature(x=([None, 3], tf.float32))
    def double(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": 2.0 * x}

    module = tf.Module()
    module.train = tf.function(
        lambda x: tf.math.erfinv(x), input_signature=[tf.TensorSpec([None], tf.float32)]
    )
    save(str(path), double, module)

    def change(proto: Any) -> None:
        for function in proto.meta_graphs[0].graph_def.library.function:
            for node in function.node_def:
                if node.op == "Erfinv":
                    node.op = "NoSuchOp"

    edit(path, change)


def leftover_key(path: Path) -> None:
    """A tensor in the checkpoint that belongs to no variable."""
    save_linear(path)
    rewrite_checkpoint(path, lambda tensors: tensors.update({"leftover": [1.0, 2.0]}))


def two_meta_graphs(path: Path) -> None:
    """A sound model: the variables of both MetaGraphs lie in one checkpoint."""
    import tensorflow as tf

    from zoo.tf1 import saved_model, session, signature_def, v1

    builder = saved_model.Builder(str(path))
    with session() as running:
        x = v1.placeholder(tf.float32, [None, 3], name="x")
        weight = v1.get_variable("weight", initializer=2.0)
        v1.get_variable("momentum", initializer=0.5)
        running.run(v1.global_variables_initializer())
        signatures = {"serving_default": signature_def({"x": x}, {"y": x * weight})}
        builder.add_meta_graph_and_variables(running, ["train"], signatures)
    with session():
        x = v1.placeholder(tf.float32, [None, 3], name="x")
        weight = v1.get_variable("weight", shape=[])
        signatures = {"serving_default": signature_def({"x": x}, {"y": x * weight})}
        builder.add_meta_graph(["serve"], signatures)
    builder.save()


def reads_file(path: Path) -> None:
    """A function that reads any file."""
    import tensorflow as tf

    from zoo.registry import save, signature

    @signature(x=([], tf.string))
    def read(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": tf.io.read_file(x)}

    save(str(path), read)


def variable_of_a_function(path: Path) -> None:
    """A variable that nothing restores, and that no signature reads."""
    import tensorflow as tf

    from zoo.registry import save, signature

    module = tf.Module()
    module.weight = tf.Variable(2.0, name="weight")
    module.scale = tf.function(
        lambda x: module.weight * x, input_signature=[tf.TensorSpec([None], tf.float32)]
    )

    @signature(x=([None, 3], tf.float32))
    def double(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": 2.0 * x}

    save(str(path), double, module)

    def change(proto: Any) -> None:
        meta_graph = proto.meta_graphs[0]
        meta_graph.saver_def.ClearField("restore_op_name")
        for child in meta_graph.object_graph_def.nodes[0].children:
            child.local_name = f"renamed_{child.local_name}"

    edit(path, change)


def keras(path: Path) -> None:
    """A sound model, but for a restore function that fills other handles than those it reads."""
    import tensorflow as tf

    model = tf.keras.Sequential([tf.keras.Input([3], name="x"), tf.keras.layers.Dense(2)])
    tf.saved_model.save(model, str(path))


MODELS = (
    newer_producer,
    newer_consumer,
    bad_consumer,
    dead_op,
    odd_op,
    worker_in_function,
    gpu_in_function,
    gpu_in_function_of_its_own,
    unknown_op_in_uncalled_function,
    leftover_key,
    two_meta_graphs,
    reads_file,
    variable_of_a_function,
    keras,
)


def main() -> None:
    # TensorFlow reads these once, as it is imported.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
    for build in MODELS:
        build(Path(sys.argv[1]) / build.__name__)


if __name__ == "__main__":
    main()
