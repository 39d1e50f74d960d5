"""Functions calling functions: what the graph's library holds, beyond control flow."""

from __future__ import annotations

import tensorflow as tf

from zoo.registry import Call, array, model, noise, save, signature


@model()
def function_chain(path: str) -> list[Call]:
    """Functions nested several deep, one of them called twice with other shapes."""
    module = tf.Module()
    module.weight = tf.Variable(array(3.0))

    @tf.function
    def scale(x: tf.Tensor) -> tf.Tensor:
        return x * module.weight

    @tf.function
    def shift(x: tf.Tensor) -> tf.Tensor:
        return scale(x) + scale(tf.constant([1.0]))

    @signature(x=([None, 2], tf.float32))
    def outer(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": shift(shift(x)), "column": scale(x[:, 0])}

    save(path, outer, module)
    return [Call({"x": array([[1, 2], [3, 4]])}), Call({"x": array([[0, 0]])})]


@model()
def no_inline_function(path: str) -> list[Call]:
    """A call that the graph optimizer may not inline, so the function is really called."""

    @tf.function(experimental_attributes={"_noinline": True})
    def inner(x: tf.Tensor) -> tf.Tensor:
        return tf.nn.relu(x) - 1.0

    @signature(x=([None], tf.float32))
    def outer(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": inner(x) + inner(-x)}

    save(path, outer)
    return [Call({"x": array([-2, 0, 2])})]


@model()
def gradient(path: str) -> list[Call]:
    """A backward pass inside the signature, with a loop to differentiate and a custom gradient."""
    module = tf.Module()
    module.weight = tf.Variable(noise([3, 3], 1) * 0.3)

    @tf.custom_gradient
    def clipped(x: tf.Tensor):
        return x * x, lambda upstream: tf.clip_by_value(upstream * 2.0 * x, -1.0, 1.0)

    @signature(x=([None, 3], tf.float32), steps=([], tf.int32))
    def backward(x: tf.Tensor, steps: tf.Tensor) -> dict[str, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(x)
            hidden = x
            for _ in tf.range(steps):
                hidden = tf.tanh(hidden @ module.weight)
            loss = tf.reduce_sum(clipped(hidden))
        by_input, by_weight = tape.gradient(loss, [x, module.weight])
        return {"loss": loss, "by_input": by_input, "by_weight": by_weight}

    save(path, backward, module)
    return [
        Call({"x": noise([4, 3], 2), "steps": array(3, "int32")}),
        Call({"x": noise([1, 3], 3), "steps": array(0, "int32")}),
    ]


@model()
def compiled_function(path: str) -> list[Call]:
    """A function that asks for XLA: a runtime must compile it, ignore the wish, or say why not."""

    @tf.function(jit_compile=True)
    def inner(x: tf.Tensor) -> tf.Tensor:
        return tf.nn.softmax(x) * 2.0

    @signature(x=([None, 4], tf.float32))
    def outer(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": inner(x)}

    save(path, outer)
    return [Call({"x": noise([2, 4], 4)})]
