"""Forms that the folder of a SavedModel can take on disk."""

from __future__ import annotations

import os

import numpy as np
import tensorflow as tf
from google.protobuf import text_format
from tensorflow.core.protobuf import saved_model_pb2

from zoo.registry import Call, array, model, noise, save, signature


def save_linear(path: str, options: tf.saved_model.SaveOptions | None = None) -> list[Call]:
    """A small model with variables, where the folder is the point and the graph is not."""
    module = tf.Module()
    module.weight = tf.Variable(noise([3, 2], 1))
    module.bias = tf.Variable(noise([2], 2))

    @signature(x=([None, 3], tf.float32))
    def linear(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": x @ module.weight + module.bias}

    save(path, linear, module, options)
    return [Call({"x": noise([4, 3], 3)})]


@model()
def pbtxt_form(path: str) -> list[Call]:
    """The text form, saved_model.pbtxt, that a loader takes where there is no saved_model.pb."""
    calls = save_linear(path)
    binary = os.path.join(path, "saved_model.pb")
    proto = saved_model_pb2.SavedModel()
    with open(binary, "rb") as file:
        proto.ParseFromString(file.read())
    with open(os.path.join(path, "saved_model.pbtxt"), "w", encoding="utf-8") as file:
        file.write(text_format.MessageToString(proto))
    os.remove(binary)
    return calls


@model(name="path with spaces, ünïcödé 模型")
def odd_path(path: str) -> list[Call]:
    """A path that an ASCII-only or unquoted use of it would break."""
    return save_linear(path)


@model()
def assets_extra(path: str) -> list[Call]:
    """Files beside the model that no graph mentions, nested, and unknown to the proto."""
    calls = save_linear(path)
    folder = os.path.join(path, "assets.extra", "nested")
    os.makedirs(folder)
    with open(os.path.join(folder, "readme.txt"), "w", encoding="utf-8") as file:
        file.write("not part of the graph\n")
    with open(os.path.join(path, "assets.extra", "tf_serving_warmup_requests"), "wb") as file:
        file.write(b"\x00\x01")
    return calls


@model()
def sharded_variables(path: str) -> list[Call]:
    """A checkpoint in several data files, with variables split between them."""
    policy = tf.train.experimental.MaxShardSizePolicy(max_shard_size=4096)
    options = tf.saved_model.SaveOptions(experimental_sharding_callback=policy)
    module = tf.Module()
    module.tables = [tf.Variable(noise([64, 16], seed)) for seed in range(4)]

    @signature(ids=([None], tf.int32))
    def lookup(ids: tf.Tensor) -> dict[str, tf.Tensor]:
        return {f"table_{i}": tf.gather(t, ids) for i, t in enumerate(module.tables)}

    save(path, lookup, module, options)
    shards = [name for name in os.listdir(os.path.join(path, "variables")) if ".data-" in name]
    if len(shards) < 2:
        raise RuntimeError(f"the checkpoint was not sharded: {shards}")
    return [Call({"ids": array([0, 63, 31], "int32")})]


@model()
def large_variable(path: str) -> list[Call]:
    """A megabyte in one variable and a large constant in the graph."""
    module = tf.Module()
    module.table = tf.Variable(np.arange(1 << 18, dtype=np.float32).reshape(1 << 12, 64))
    constant = np.arange(1 << 16, dtype=np.float32)

    @signature(ids=([None], tf.int64))
    def lookup(ids: tf.Tensor) -> dict[str, tf.Tensor]:
        rows = tf.gather(module.table, ids)
        return {"rows": rows, "sum": tf.reduce_sum(tf.gather(tf.constant(constant), ids))}

    save(path, lookup, module)
    return [Call({"ids": array([0, 4095, 17], "int64")})]


@model()
def unused_variables(path: str) -> list[Call]:
    """Variables in the checkpoint that no signature reads, and an object graph with a list."""
    module = tf.Module()
    module.layers = [tf.Module(), tf.Module()]
    for index, layer in enumerate(module.layers):
        layer.weight = tf.Variable(float(index + 1))
    module.optimizer_slot = tf.Variable(noise([100], 1))

    @signature(x=([], tf.float32))
    def scale(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": x * module.layers[1].weight}

    save(path, scale, module)
    return [Call({"x": array(3.0)})]


@model()
def files_beside(path: str) -> list[Call]:
    """What TensorFlow and Keras 2 also put there, and what only the former reads."""
    calls = save_linear(path, tf.saved_model.SaveOptions(save_debug_info=True))
    with open(os.path.join(path, "keras_metadata.pb"), "wb") as file:
        file.write(b"\xff not even a protocol buffer")
    if not os.path.exists(os.path.join(path, "debug", "saved_model_debug_info.pb")):
        raise RuntimeError("TensorFlow wrote no debug information")
    return calls


@model()
def object_graph(path: str) -> list[Call]:
    """Nested objects, functions with several traces and Python arguments, and a cycle."""
    module = tf.Module()
    module.layers = [tf.Module(), tf.Module()]
    module.by_name = {"first": module.layers[0]}
    for index, layer in enumerate(module.layers):
        layer.weight = tf.Variable(noise([2, 2], index), trainable=index == 0, name=f"w{index}")
        layer.parent = module

    @tf.function
    def apply(x: tf.Tensor, training: bool = False) -> dict[str, tf.Tensor]:
        for layer in module.layers:
            x = x @ layer.weight
        return {"y": x * 2.0 if training else x}

    module.apply = apply
    apply.get_concrete_function(tf.TensorSpec([None, 2], tf.float32, name="x"), training=True)
    concrete = apply.get_concrete_function(tf.TensorSpec([None, 2], tf.float32, name="x"))
    save(path, concrete, module)
    return [Call({"x": noise([3, 2], 5)})]
