"""Models whose answers depend on the calls before: order matters, and so do instances."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from zoo.registry import Call, array, model, noise, save, signature


@model()
def counter(path: str) -> list[Call]:
    """One signature counts, another reads: they must be one variable."""
    module = tf.Module()
    module.count = tf.Variable(5, dtype=tf.int64)

    @signature(by=([], tf.int64))
    def add(by: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"count": module.count.assign_add(by)}

    @tf.function(input_signature=[])
    def read() -> dict[str, tf.Tensor]:
        return {"count": tf.identity(module.count)}

    save(path, {"add": add, "read": read}, module)
    one = {"by": array(1, "int64")}
    return [
        Call({}, "read"),
        Call(one, "add"),
        Call(one, "add"),
        Call({}, "read"),
        Call({"by": array(-10, "int64")}, "add"),
        Call({}, "read"),
    ]


@model()
def assign_input(path: str) -> list[Call]:
    """A variable may keep the caller's own buffer: changing the array must not change it."""
    module = tf.Module()
    module.matrix = tf.Variable(np.zeros((2, 2), np.float32), shape=[None, 2])
    module.label = tf.Variable(b"initial")

    @signature(x=([None, 2], tf.float32), label=([], tf.string))
    def write(x: tf.Tensor, label: tf.Tensor) -> dict[str, tf.Tensor]:
        module.matrix.assign(x)
        module.label.assign(label)
        return {"rows": tf.shape(x)[0]}

    @tf.function(input_signature=[])
    def read() -> dict[str, tf.Tensor]:
        return {"x": module.matrix.read_value(), "label": module.label.read_value()}

    save(path, {"write": write, "read": read}, module)
    return [
        Call({}, "read"),
        Call({"x": noise([3, 2], 1), "label": np.array(b"three\x00", object)}, "write"),
        Call({}, "read"),
        Call({"x": noise([0, 2], 2), "label": np.array(b"", object)}, "write"),
        Call({}, "read"),
    ]


@model()
def variable_value(path: str) -> list[Call]:
    """An output that is a variable's value: a later assignment must not reach earlier outputs."""
    module = tf.Module()
    module.vector = tf.Variable(array([1, 2, 3]))

    @signature(x=([], tf.float32))
    def before_and_after(x: tf.Tensor) -> dict[str, tf.Tensor]:
        before = module.vector.read_value()
        module.vector.assign_add(tf.fill([3], x))
        return {"before": before, "after": module.vector.read_value()}

    @signature(index=([None, 1], tf.int32), values=([None], tf.float32))
    def scatter(index: tf.Tensor, values: tf.Tensor) -> dict[str, tf.Tensor]:
        module.vector.scatter_nd_update(index, values)
        return {"vector": module.vector.read_value()}

    save(path, {"add": before_and_after, "scatter": scatter}, module)
    return [
        Call({"x": array(1.0)}, "add"),
        Call({"x": array(0.5)}, "add"),
        Call({"index": array([[2], [0]], "int32"), "values": array([-1, -2])}, "scatter"),
        Call({"x": array(0.0)}, "add"),
    ]


@model()
def random_generator(path: str) -> list[Call]:
    """A generator whose state is a restored variable, so its numbers follow from the calls."""
    module = tf.Module()
    module.generator = tf.random.Generator.from_seed(1234, alg="philox")

    @signature(count=([], tf.int32))
    def draw(count: tf.Tensor) -> dict[str, tf.Tensor]:
        return {
            "uniform": module.generator.uniform([count]),
            "integers": module.generator.uniform([count], 0, 1000, tf.int64),
            "normal": module.generator.normal([count]),
        }

    save(path, draw, module)
    return [Call({"count": array(n, "int32")}) for n in (3, 3, 1)]
