"""SavedModels as TF1 wrote them: graphs with collections, sessions to run them, and tag sets."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from zoo.registry import Call, array, model, noise, strings

v1 = tf.compat.v1
saved_model = v1.saved_model


@contextlib.contextmanager
def session() -> Iterator[Any]:
    """A fresh graph with a session on it."""
    with tf.Graph().as_default(), v1.Session() as running:
        yield running


def signature_def(inputs: dict, outputs: dict, method: str = "tensorflow/serving/predict") -> Any:
    """A SignatureDef of graph tensors by name."""
    return saved_model.build_signature_def(
        {name: saved_model.build_tensor_info(tensor) for name, tensor in inputs.items()},
        {name: saved_model.build_tensor_info(tensor) for name, tensor in outputs.items()},
        method,
    )


def save_session(
    path: str,
    running: Any,
    signatures: dict[str, Any],
    tags: Sequence[str] = ("serve",),
    **options: Any,
) -> None:
    """Saves one MetaGraph with the session's variables as they are now."""
    builder = saved_model.Builder(path)
    builder.add_meta_graph_and_variables(running, list(tags), signatures, **options)
    builder.save()


@model()
def tf1_two_tag_sets(path: str) -> list[Call]:
    """Two MetaGraphs with other graphs over one checkpoint: tags must match as a set."""
    builder = saved_model.Builder(path)
    with session() as running:
        x = v1.placeholder(tf.float32, [None], name="x")
        weight = v1.get_variable("weight", initializer=3.0, use_resource=False)
        running.run(v1.global_variables_initializer())
        serve = signature_def({"x": x}, {"y": x * weight})
        builder.add_meta_graph_and_variables(running, ["serve"], {"serving_default": serve})
    with session():
        x = v1.placeholder(tf.float32, [None], name="x")
        weight = v1.get_variable("weight", shape=[], use_resource=False)
        gpu = signature_def({"x": x}, {"y": x * weight + 100.0})
        builder.add_meta_graph(["serve", "gpu"], {"serving_default": gpu})
    with session():
        x = v1.placeholder(tf.float32, [None], name="x")
        weight = v1.get_variable("weight", shape=[], use_resource=False)
        train = signature_def({"x": x}, {"loss": tf.reduce_sum(x * weight)})
        builder.add_meta_graph(["train"], {"train": train})
    builder.save()
    inputs = {"x": array([1, 2])}
    return [
        Call(inputs),
        Call(inputs, tags=("serve", "gpu")),
        Call(inputs, tags=("gpu", "serve")),
        Call(inputs, "train", tags=("train",)),
    ]


@model()
def tf1_train_tag_only(path: str) -> list[Call]:
    """A model that never says "serve": a default of that tag would not find it."""
    with session() as running:
        x = v1.placeholder(tf.float32, [None], name="x")
        signatures = {"predict": signature_def({"x": x}, {"y": x + 1.0})}
        save_session(path, running, signatures, ["train", "tpu"])
    return [Call({"x": array([1])}, "predict", tags=("train", "tpu"))]


@model()
def tf1_ref_variables(path: str) -> list[Call]:
    """VariableV2, the variable before resources, whose value is a reference to its buffer."""
    with session() as running:
        x = v1.placeholder(tf.float32, [None, 3], name="x")
        weight = v1.get_variable("w", initializer=noise([3, 2], 1), use_resource=False)
        bias = v1.get_variable("b", initializer=noise([2], 2), use_resource=False)
        running.run(v1.global_variables_initializer())
        running.run(bias.assign_add([1.0, 1.0]))
        outputs = {"y": v1.matmul(x, weight) + bias, "bias": bias.read_value()}
        save_session(path, running, {"serving_default": signature_def({"x": x}, outputs)})
    return [Call({"x": noise([2, 3], 3)}), Call({"x": noise([0, 3], 3)})]


@model(in_session=True)
def tf1_counter(path: str) -> list[Call]:
    """A ref variable that a call changes, for what reading it by reference gives."""
    with session() as running:
        step = v1.placeholder(tf.float32, [], name="step")
        total = v1.get_variable("total", initializer=10.0, use_resource=False)
        running.run(v1.global_variables_initializer())
        signatures = {
            "add": signature_def({"step": step}, {"total": total.assign_add(step)}),
            "read": signature_def({}, {"total": total.read_value()}),
            # An output of dtype DT_FLOAT_REF, which the signature states as such.
            "reference": signature_def({}, {"total": total._ref()}),
        }
        save_session(path, running, signatures)
    return [
        Call({}, "read"),
        Call({"step": array(2.0)}, "add"),
        Call({"step": array(2.0)}, "add"),
        Call({}, "read"),
        Call({}, "reference"),
    ]


@model()
def tf1_partitioned_variables(path: str) -> list[Call]:
    """One logical variable in three slices, which the checkpoint knows by slice specs."""
    with session() as running:
        ids = v1.placeholder(tf.int64, [None], name="ids")
        partitioner = v1.fixed_size_partitioner(3)
        table = v1.get_variable(
            "table",
            shape=[7, 4],
            initializer=v1.random_normal_initializer(seed=1),
            partitioner=partitioner,
            use_resource=False,
        )
        running.run(v1.global_variables_initializer())
        rows = v1.nn.embedding_lookup(table, ids, partition_strategy="div")
        outputs = {"rows": rows, "whole": tf.convert_to_tensor(table)}
        save_session(path, running, {"serving_default": signature_def({"ids": ids}, outputs)})
    return [Call({"ids": array([0, 3, 6], "int64")})]


@model()
def tf1_sparse_input(path: str) -> list[Call]:
    """A TensorInfo that is a SparseTensor: three tensors behind one name of the signature."""
    with session() as running:
        x = v1.sparse_placeholder(tf.float32, [None, 4], name="x")
        weight = v1.get_variable("w", initializer=noise([4, 2], 1), use_resource=False)
        running.run(v1.global_variables_initializer())
        outputs = {"y": tf.sparse.sparse_dense_matmul(x, weight)}
        save_session(path, running, {"serving_default": signature_def({"x": x}, outputs)})

    def sparse(indices: list, values: list, shape: list[int]) -> dict[str, np.ndarray]:
        return {
            "x_indices": np.array(indices, np.int64).reshape(-1, 2),
            "x_values": array(values),
            "x_dense_shape": array(shape, "int64"),
        }

    return [
        Call(sparse([[0, 1], [2, 3]], [1.5, -2.0], [3, 4])),
        Call(sparse([], [], [2, 4])),
    ]


@model(in_session=True)
def tf1_control_flow(path: str) -> list[Call]:
    """Loops and branches of Switch, Merge, Enter and Exit nodes rather than functions."""
    v1.disable_control_flow_v2()
    try:
        with session() as running:
            n = v1.placeholder(tf.int32, [], name="n")
            x = v1.placeholder(tf.float32, [None], name="x")
            total = v1.while_loop(
                lambda i, _: i < n,
                lambda i, value: (
                    i + 1,
                    v1.cond(tf.equal(i % 2, 0), lambda: value * 2.0, lambda: value + 1.0),
                ),
                [tf.constant(0), x],
            )[1]
            types = {node.type for node in running.graph.get_operations()}
            if not {"Switch", "Merge", "Enter", "Exit"} <= types:
                raise RuntimeError(f"not TF1 control flow: {sorted(types)}")
            signatures = {"serving_default": signature_def({"n": n, "x": x}, {"y": total})}
            save_session(path, running, signatures)
    finally:
        v1.enable_control_flow_v2()
    return [Call({"n": array(n, "int32"), "x": array([1, 2])}) for n in (0, 5)]


@model()
def tf1_classify(path: str) -> list[Call]:
    """The classify and regress methods, which take serialized examples."""
    with session() as running:
        examples = v1.placeholder(tf.string, [None], name="examples")
        features = {"x": tf.io.FixedLenFeature([2], tf.float32)}
        x = v1.io.parse_example(examples, features)["x"]
        weight = v1.get_variable("w", initializer=noise([2, 3], 1), use_resource=True)
        running.run(v1.global_variables_initializer())
        scores = tf.nn.softmax(v1.matmul(x, weight))
        classes = tf.tile(tf.constant([["a", "b", "c"]]), [tf.shape(scores)[0], 1])
        signatures = {
            "serving_default": saved_model.classification_signature_def(examples, classes, scores),
            "regression": saved_model.regression_signature_def(examples, tf.reduce_sum(x, 1)),
            "predict_raw": signature_def({"x": x}, {"scores": scores}),
        }
        save_session(path, running, signatures)

    def example(values: list[float]) -> bytes:
        feature = {"x": tf.train.Feature(float_list=tf.train.FloatList(value=values))}
        return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()

    batch = strings([example([1, 2]), example([-1, 0.5])])
    return [
        Call({"inputs": batch}),
        Call({"inputs": batch}, "regression"),
        # The input of this signature is no placeholder, but a tensor in the midst of the graph.
        Call({"x": array([[1, 2]])}, "predict_raw"),
    ]


@model(in_session=True)
def tf1_odd_names(path: str) -> list[Call]:
    """A SignatureDef may use any string as a name, and one tensor under two names."""
    with session() as running:
        x = v1.placeholder(tf.float32, [], name="scope/x")
        y = v1.placeholder(tf.float32, [], name="scope/y")
        z = v1.placeholder(tf.float32, [], name="scope/z")
        inputs = {"x/y": x, "class": y, "self": z, "": v1.placeholder(tf.float32, [])}
        parts = tf.split(tf.stack([x, y * z, x + y]), 3, name="parts")
        outputs = {"part:2": parts[2], "x/y": x, "self": parts[1], "": parts[0], "ß": parts[2]}
        save_session(path, running, {"any key:0": signature_def(inputs, outputs)})
    values = {"x/y": 2.0, "class": 5.0, "self": 7.0, "": 11.0}
    return [Call({name: array(value) for name, value in values.items()}, "any key:0")]


@model(in_session=True)
def tf1_no_placeholder_shape(path: str) -> list[Call]:
    """Graph nodes with assertions, PlaceholderWithDefault and a device pinned by name."""
    with session() as running:
        x = v1.placeholder(tf.float32, None, name="x")
        keep = v1.placeholder_with_default(array(0.5), [], name="keep")
        with tf.device("/job:localhost/replica:0/task:0/device:CPU:0"):
            check = v1.debugging.assert_greater_equal(keep, 0.0)
        with tf.control_dependencies([check]):
            y = x * keep
        signatures = {
            "fixed": signature_def({"x": x}, {"y": y}),
            "free": signature_def({"x": x, "keep": keep}, {"y": y}),
        }
        save_session(path, running, signatures)
    return [
        Call({"x": array([[1, 2]])}, "fixed"),
        Call({"x": array([[1, 2]]), "keep": array(2.0)}, "free"),
    ]
