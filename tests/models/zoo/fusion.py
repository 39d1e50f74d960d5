"""What an optimizer fuses, folds or unrolls: the blocks that networks are made of."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from zoo.registry import Call, array, model, noise, save, signature


def export(path: str, inputs: keras.KerasTensor, outputs: keras.KerasTensor) -> None:
    """Exports with weights that are not their initial zeros and ones."""
    built = keras.Model(inputs, outputs)
    built.set_weights(
        [
            # A moving variance must be positive.
            abs(noise(weight.shape, index)) + 0.1
            if weight.name == "moving_variance"
            # Small enough for activations not to saturate.
            else noise(weight.shape, index) / 2
            for index, weight in enumerate(built.weights)
        ]
    )
    built.export(path, verbose=False)


def images(channels: int, *shapes: tuple[int, int, int]) -> list[Call]:
    return [Call({"x": noise([*shape, channels], index)}) for index, shape in enumerate(shapes)]


def normalized_conv(x: keras.KerasTensor, filters: int, size: int = 3) -> keras.KerasTensor:
    x = layers.Conv2D(filters, size, padding="same", use_bias=False)(x)
    return layers.BatchNormalization(epsilon=1e-3)(x)


@model()
def residual_blocks(path: str) -> list[Call]:
    """ResNet's: fully convolutional, one sum with what came before and one with a projection."""
    inputs = x = keras.Input([None, None, 3], name="x")
    x = layers.ReLU()(normalized_conv(x, 8))
    x = layers.ReLU()(layers.Add()([normalized_conv(x, 8), x]))
    shortcut = normalized_conv(x, 12, size=1)
    x = layers.ReLU()(layers.Add()([shortcut, normalized_conv(x, 12)]))
    export(path, inputs, layers.Conv2D(2, 3, strides=2)(layers.MaxPooling2D(3, 2, "same")(x)))
    return images(3, (1, 16, 16), (3, 16, 16), (1, 23, 9), (2, 7, 30))


@model()
def inverted_residuals(path: str) -> list[Call]:
    """MobileNet's and EfficientNet's: depthwise, squeeze and excitation, ReLU6, swish."""
    inputs = x = keras.Input([24, 24, 3], name="x")
    x = layers.ReLU(max_value=6)(normalized_conv(x, 16))
    expanded = layers.Activation("swish")(normalized_conv(x, 32, size=1))
    padded = layers.ZeroPadding2D(((0, 1), (0, 1)))(expanded)
    small = layers.DepthwiseConv2D(3, strides=2, use_bias=False)(padded)
    small = layers.ReLU(max_value=6)(layers.BatchNormalization()(small))
    squeezed = layers.GlobalAveragePooling2D(keepdims=True)(small)
    excited = layers.Conv2D(8, 1, activation="swish")(squeezed)
    excited = layers.Conv2D(32, 1, activation="sigmoid")(excited)
    x = normalized_conv(layers.Multiply()([small, excited]), 16, size=1)
    x = layers.Add()([x, layers.AveragePooling2D(2)(normalized_conv(expanded, 16))])
    export(path, inputs, layers.Dense(5)(layers.GlobalAveragePooling2D()(x)))
    return images(3, (1, 24, 24), (2, 24, 24))


@model()
def separable_convolutions(path: str) -> list[Call]:
    """Padding of its own before a convolution, dilation, and other activations."""
    inputs = x = keras.Input([None, None, 4], name="x")
    x = layers.ZeroPadding2D(((1, 2), (0, 3)))(x)
    x = layers.SeparableConv2D(6, 5, activation="elu")(x)
    x = layers.Conv2D(7, 3, dilation_rate=2, padding="same", activation="leaky_relu")(x)
    x = layers.DepthwiseConv2D(3, padding="same", activation="tanh")(x)
    export(path, inputs, layers.AveragePooling2D(3, 2, "same")(x))
    return images(4, (1, 9, 9), (2, 12, 5))


@model()
def feed_forward(path: str) -> list[Call]:
    """A transformer's block: dense layers on three axes, GELU, layer normalization, a sum."""
    inputs = x = keras.Input([None, 16], name="x")
    hidden = layers.Dense(48, activation="gelu")(layers.LayerNormalization()(x))
    x = layers.Add()([x, layers.Dense(16)(hidden)])
    export(path, inputs, layers.Dense(3, activation="softmax")(layers.LayerNormalization()(x)))
    return [Call({"x": noise([*shape, 16], 1)}) for shape in ((1, 5), (3, 8), (2, 1))]


@model()
def attention(path: str) -> list[Call]:
    """Multi-head attention of a fixed and of an unknown length, to itself and to another."""
    x = keras.Input([7, 16], name="x")
    memory = keras.Input([None, 16], name="memory")
    own = layers.MultiHeadAttention(4, 4)(x, x)
    other = layers.MultiHeadAttention(2, 8)(own, memory)
    export(path, [x, memory], layers.LayerNormalization()(layers.Add()([own, other])))
    return [
        Call({"x": noise([batch, 7, 16], 1), "memory": noise([batch, length, 16], 2)})
        for batch, length in ((1, 3), (2, 9))
    ]


@model()
def recurrent_of_fixed_length(path: str) -> list[Call]:
    """Loops whose number of repetitions is known, so that they can be unrolled."""
    inputs = x = keras.Input([6, 5], name="x")
    x = layers.LSTM(16, return_sequences=True)(x)
    x = layers.Bidirectional(layers.LSTM(7, return_sequences=True))(x)
    export(path, inputs, layers.Dense(3)(layers.GRU(9)(x)))
    return [Call({"x": noise([batch, 6, 5], batch)}) for batch in (1, 4)]


@model()
def broadcasting_sums(path: str) -> list[Call]:
    """Sums, products and differences behind weights, of shapes that only the call tells."""
    module = tf.Module()
    module.filters = tf.Variable(noise([1, 1, 4, 6], 1))
    module.weights = tf.Variable(noise([6, 6], 2))
    unknown = [None, None, None, None]

    @signature(x=([None, None, None, 4], tf.float32), y=(unknown, tf.float32))
    def combine(x: tf.Tensor, y: tf.Tensor) -> dict[str, tf.Tensor]:
        conv = tf.nn.conv2d(x, module.filters, 1, "SAME")
        rows = tf.reduce_mean(conv, [1, 2])
        return {
            "conv": tf.nn.relu(conv + y),
            "swapped": tf.nn.relu(y + conv),
            "difference": y - conv,
            "product": conv * y,
            "twice": conv + conv,
            "dense": tf.matmul(rows, module.weights) + rows,
            "shifted": 2.0 - conv / array([1, 2, 3, 4, 5, 6]),
        }

    save(path, combine, module)
    shapes = ([2, 3, 5, 6], [1, 1, 1, 6], [2, 1, 1, 1], [1, 3, 1, 6], [2, 3, 5, 1])
    return [Call({"x": noise([2, 3, 5, 4], 3), "y": noise(shape, 4)}) for shape in shapes]


@model()
def windows(path: str) -> list[Call]:
    """What slides windows over images of any size, with a stride of two."""
    module = tf.Module()
    module.filters = tf.Variable(noise([3, 3, 4, 5]))
    module.depthwise = tf.Variable(noise([3, 3, 4, 1], 1))
    images = {"x": ([None, None, None, 4], tf.float32)}

    @signature(**images)
    def conv(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": tf.nn.conv2d(x, module.filters, 2, "VALID")}

    @signature(**images)
    def depthwise(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": tf.nn.depthwise_conv2d(x, module.depthwise, [1, 2, 2, 1], "VALID")}

    @signature(**images)
    def largest(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": tf.nn.max_pool2d(x, 3, 2, "VALID")}

    @signature(**images)
    def mean(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": tf.nn.avg_pool2d(x, 3, 2, "VALID")}

    signatures = {"conv": conv, "depthwise": depthwise, "largest": largest, "mean": mean}
    save(path, signatures, module)
    return [Call({"x": noise([2, 7, 5, 4], 2)}, name) for name in signatures]


@model()
def product_of_inputs(path: str) -> list[Call]:
    """How long it takes depends on the sizes, not on how many bytes come in."""

    @signature(x=([None, None], tf.float32), y=([None, None], tf.float32))
    def product(x: tf.Tensor, y: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": tf.matmul(x, y)}

    save(path, product)
    return [Call({"x": noise([2, 3]), "y": noise([3, 4], 1)})]


@model()
def cancelling_products(path: str) -> list[Call]:
    """Two products that differ by the weights' ninth bit: exact in float32, lost in bfloat16."""
    weights = np.arange(128, 128 + 48 * 40).reshape(48, 40) % 128 + 128.0
    module = tf.Module()
    module.a = tf.Variable(weights, dtype=tf.float32)
    module.b = tf.Variable(-weights - 0.25, dtype=tf.float32)

    @signature(x=([None, 48], tf.float32))
    def difference(x: tf.Tensor) -> dict[str, tf.Tensor]:
        signs = tf.sign(x)
        return {"y": tf.matmul(signs, module.a) + tf.matmul(signs, module.b)}

    save(path, difference, module)
    return [Call({"x": noise([3, 48])})]


@model()
def known_repetitions(path: str) -> list[Call]:
    """A loop over matrix products that takes a while, and that nothing but its length bounds."""
    module = tf.Module()
    module.weights = tf.Variable(noise([192, 192]) / 30)

    @signature(x=([None, 192], tf.float32))
    def repeat(x: tf.Tensor) -> dict[str, tf.Tensor]:
        (result,) = tf.while_loop(
            lambda _: True,
            lambda x: (tf.nn.relu(x @ module.weights),),
            (x,),
            maximum_iterations=300,
        )
        return {"y": result}

    save(path, repeat, module)
    return [Call({"x": noise([2, 192], 1)})]


@model()
def checked(path: str) -> list[Call]:
    """A kernel that refuses some inputs, between ones that do not."""
    module = tf.Module()
    module.table = tf.Variable(noise([5, 3], 1))

    @signature(ids=([None], tf.int32), x=([None, 3], tf.float32))
    def look_up(ids: tf.Tensor, x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"rows": tf.nn.relu(tf.gather(module.table, ids, name="rows") + x)}

    save(path, look_up, module)
    return [Call({"ids": np.array([4, 0], np.int32), "x": noise([2, 3], 2)})]


@model()
def changing_weights(path: str) -> list[Call]:
    """Signatures that read variables, which others and functions change, each in its own way."""
    module = tf.Module()
    module.weights = tf.Variable(noise([4, 3], 1))
    module.bias = tf.Variable(noise([3], 2))
    module.wide = tf.Variable(np.zeros([1024], np.float32))

    @signature(x=([None, 4], tf.float32))
    def predict(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": tf.nn.relu(x @ module.weights + module.bias)}

    @tf.function(input_signature=[])
    def spread() -> dict[str, tf.Tensor]:
        # One read: an assignment may come between two.
        wide = module.wide.read_value()
        return {"lowest": tf.reduce_min(wide), "highest": tf.reduce_max(wide)}

    @signature(by=([], tf.float32))
    def shift(by: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"bias": module.bias.assign_add(tf.fill([3], by))}

    @signature(row=([], tf.int32), value=([], tf.float32))
    def replace_row(row: tf.Tensor, value: tf.Tensor) -> dict[str, tf.Tensor]:
        update = tf.IndexedSlices(tf.fill([1, 3], value), row[None])
        return {"weights": module.weights.scatter_update(update)}

    @signature(times=([], tf.int32))
    def halve(times: tf.Tensor) -> dict[str, tf.Tensor]:
        for _ in tf.range(times % 8):  # of any number that a test draws
            module.weights.assign(module.weights / 2.0)
        return {"times": times}

    module.predict, module.shift = predict, shift
    signatures = {
        "predict": predict,
        "spread": spread,
        "shift": shift,
        "replace_row": replace_row,
        "halve": halve,
    }
    save(path, signatures, module)
    rows = Call({"x": noise([2, 4], 3)}, "predict")
    return [
        rows,
        Call({"by": array(0.5)}, "shift"),
        rows,
        Call({"row": array(2, "int32"), "value": array(-1)}, "replace_row"),
        rows,
        Call({"times": array(3, "int32")}, "halve"),
        rows,
        Call({}, "spread"),
    ]
