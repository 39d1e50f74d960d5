"""Networks by description: what a property-based test draws, and TensorFlow saves.

The test imports the descriptions from here; TensorFlow is imported only by `save`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Layer:
    """One layer: its input and its other operand are any earlier tensors, modulo their number.

    `choice` is what the kind makes of it: a size, a stride, a padding. A layer that does not
    fit its input passes it on.
    """

    kind: str
    source: int
    other: int
    choice: int


@dataclass(frozen=True)
class Network:
    """A signature: the shape of `x`, whose batch is unknown, the layers, and what it returns."""

    shape: tuple[int | None, ...]
    layers: list[Layer]
    outputs: list[int]


ACTIVATIONS = (
    *("relu", "relu6", "sigmoid", "tanh", "elu", "swish", "gelu", "gelu_of_tanh"),
    *("leaky_relu", "selu", "softplus", "clip"),
)
KINDS = (
    *("conv", "conv", "depthwise", "pad", "batch_norm", "max_pool", "average_pool", "mean"),
    *("dense", "dense", "constant", "constant", "sum", "sum", "binary", "activation", "activation"),
    *("softmax", "layer_norm", "concat", "split", "transpose", "flatten"),
)


def save(network: Network, path: str) -> None:
    """Builds and saves a network with TensorFlow."""
    import tensorflow as tf

    random = np.random.default_rng(len(network.layers))

    module = tf.Module()
    module.weights = []

    def weights(shape: tuple[int, ...], fan_in: int = 1) -> Any:
        values = random.standard_normal(shape) / np.sqrt(fan_in)
        with tf.init_scope():
            module.weights.append(tf.Variable(values, dtype=tf.float32))
        return module.weights[-1].read_value()

    def conv(x: Any, choice: int) -> Any:
        channels, size = x.shape[3], (1, 3, 3, 2)[choice % 4]
        padding: Any = ("SAME", "VALID", [[0, 0], [1, 2], [0, 1], [0, 0]])[choice % 3]
        filters = weights((size, size, channels, 1 + choice % 17), size * size * channels)
        return tf.nn.conv2d(x, filters, 1 + choice % 2, padding)

    def depthwise(x: Any, choice: int) -> Any:
        stride = 1 + choice % 2
        padding = ("SAME", "VALID")[choice % 2]
        filters = weights((3, 3, x.shape[3], 1), 9)
        return tf.nn.depthwise_conv2d(x, filters, [1, stride, stride, 1], padding)

    def batch_norm(x: Any, choice: int) -> Any:
        channels = (x.shape[3],)
        return tf.compat.v1.nn.fused_batch_norm(
            x,
            weights(channels),
            weights(channels),
            weights(channels) * 0.1,
            tf.abs(weights(channels)) + 0.5,
            is_training=False,
        )[0]

    def dense(x: Any, choice: int) -> Any:
        matrix = weights((x.shape[-1], 1 + choice % 37), x.shape[-1])
        return tf.matmul(x, matrix) if len(x.shape) == 2 else tf.tensordot(x, matrix, 1)

    def constant(x: Any, choice: int) -> Any:
        last, rank = x.shape[-1], len(x.shape)
        shapes = ((), (1,), (last,), (last,), (1,) * (rank - 1) + (last,), (2, *[1] * rank))
        operand = weights(shapes[choice % 6])
        away_from_zero = tf.sign(operand) * (0.5 + tf.abs(operand))
        operations: list[Callable[[], Any]] = [
            lambda: x + operand,
            lambda: operand + x,
            lambda: x * operand,
            lambda: x - operand,
            lambda: operand - x,
            lambda: x / away_from_zero,
            lambda: operand / (1.0 + x * x),
        ]
        return operations[choice % 7]()

    def binary(x: Any, y: Any, choice: int) -> Any:
        return (tf.add, tf.multiply, tf.subtract, tf.maximum)[choice % 4](x, y)

    def activation(x: Any, choice: int) -> Any:
        name = ACTIVATIONS[choice % len(ACTIVATIONS)]
        match name:
            case "gelu_of_tanh":
                return tf.nn.gelu(x, approximate=True)
            case "clip":
                return tf.clip_by_value(x, -0.5, 1.5)
        return getattr(tf.nn, name)(x)

    def layer_norm(x: Any, choice: int) -> Any:
        mean, variance = tf.nn.moments(x, [-1], keepdims=True)
        scale = tf.math.rsqrt(variance + 0.1) * weights((x.shape[-1],))
        return x * scale + (weights((x.shape[-1],)) - mean * scale)

    def split(x: Any, choice: int) -> Any:
        at = 1 + choice % max(1, x.shape[-1] - 1)
        return x[..., :at]

    def transpose(x: Any, choice: int) -> Any:
        axes = list(range(len(x.shape)))
        first = 1 + choice % (len(axes) - 1)
        axes[first], axes[-1] = axes[-1], axes[first]
        return tf.transpose(x, axes)

    def flatten(x: Any, choice: int) -> Any:
        return tf.reshape(x, [-1, np.prod(x.shape[1:])])

    def mean(x: Any, choice: int) -> Any:
        return tf.reduce_mean(x, [1, 2], keepdims=choice % 2 == 0)

    images: dict[str, Callable[[Any, int], Any]] = {
        "conv": conv,
        "depthwise": depthwise,
        "batch_norm": batch_norm,
        "pad": lambda x, choice: tf.pad(x, [[0, 0], [choice % 3, 1], [0, choice % 2], [0, 0]]),
        "max_pool": lambda x, choice: tf.nn.max_pool2d(x, 2, 1 + choice % 2, "SAME"),
        "average_pool": lambda x, choice: tf.nn.avg_pool2d(x, 3, 1 + choice % 2, "SAME"),
        "mean": mean,
    }
    any_rank: dict[str, Callable[[Any, int], Any]] = {
        "dense": dense,
        "constant": constant,
        "activation": activation,
        "softmax": lambda x, choice: tf.nn.softmax(x),
        "layer_norm": layer_norm,
        "split": split,
        "transpose": transpose,
        "flatten": flatten,
    }
    two: dict[str, Callable[[Any, Any, int], Any]] = {
        "sum": lambda x, y, choice: x + y if choice % 2 else y + x,
        "binary": binary,
        "concat": lambda x, y, choice: tf.concat([x, y], -1),
    }

    def apply(layer: Layer, x: Any, y: Any) -> Any:
        if layer.kind in images:
            return images[layer.kind](x, layer.choice) if len(x.shape) == 4 else x
        if layer.kind in any_rank:
            return any_rank[layer.kind](x, layer.choice)
        return two[layer.kind](x, y, layer.choice) if len(x.shape) == len(y.shape) else x

    def compute(x: Any) -> list[Any]:
        tensors = [x]
        for layer in network.layers:
            source = tensors[-1 - layer.source % len(tensors)]
            other = tensors[-1 - layer.other % len(tensors)]
            try:
                tensors.append(apply(layer, source, other))
            except (ValueError, TypeError):
                continue  # sizes that do not fit, or that are not known
        return tensors

    def run(x: Any) -> dict[str, Any]:
        tensors = compute(x)
        chosen = {len(tensors) - 1, *(index % len(tensors) for index in network.outputs)}
        return {f"y{index}": tf.identity(tensors[index]) for index in sorted(chosen)}

    spec = tf.TensorSpec([None, *network.shape], tf.float32, name="x")
    signature = tf.function(run, input_signature=[spec], autograph=False)
    tf.saved_model.save(module, path, signatures=signature)
