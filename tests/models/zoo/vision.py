"""Image ops, and convolutions without Keras around them."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from zoo.registry import Call, model, noise, save, signature, strings


def picture(height: int, width: int, channels: int) -> np.ndarray:
    """A gradient with a bright corner, in bytes."""
    image = np.linspace(0, 255, height * width * channels).reshape(height, width, channels)
    image[0, 0] = 255
    return image.astype(np.uint8)


@model()
def image_resize(path: str) -> list[Call]:
    """The resize kernels, each with its own idea of pixel centers."""

    @signature(x=([None, None, None, 3], tf.uint8))
    def resize(x: tf.Tensor) -> dict[str, tf.Tensor]:
        methods = ["bilinear", "nearest", "bicubic", "area", "lanczos3"]
        return {
            **{method: tf.image.resize(x, [5, 7], method=method) for method in methods},
            "cropped": tf.image.resize_with_crop_or_pad(x, 4, 12),
            "hue": tf.image.rgb_to_hsv(tf.image.convert_image_dtype(x, tf.float32)),
        }

    save(path, resize)
    return [Call({"x": picture(8, 6, 3)[None]}), Call({"x": picture(3, 9, 3)[None]})]


@model()
def image_decode(path: str) -> list[Call]:
    """Encoded images as scalar strings: long byte strings full of NULs, of unknown shape out."""

    @signature(data=([], tf.string))
    def decode(data: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"image": tf.io.decode_png(data), "any": tf.io.decode_image(data)}

    @signature(image=([None, None, None], tf.uint8))
    def encode(image: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"png": tf.io.encode_png(image)}

    @signature(batch=([None], tf.string))
    def decode_batch(batch: tf.Tensor) -> dict[str, tf.Tensor]:
        def load(data: tf.Tensor) -> tf.Tensor:
            image = tf.io.decode_png(data, channels=3)
            return tf.image.resize(image, [4, 4]) / 255.0

        return {"images": tf.map_fn(load, batch, fn_output_signature=tf.float32)}

    save(path, {"decode": decode, "encode": encode, "decode_batch": decode_batch})
    color = tf.io.encode_png(picture(6, 5, 3)).numpy()
    gray = tf.io.encode_png(picture(2, 9, 1)).numpy()
    return [
        Call({"data": strings(color)}, "decode"),
        Call({"data": strings(gray)}, "decode"),
        Call({"batch": strings([color, gray])}, "decode_batch"),
        Call({"image": picture(6, 5, 3)}, "encode"),
    ]


@model()
def convolutions(path: str) -> list[Call]:
    """Convolution, depthwise, transposed and pooling kernels, which oneDNN may replace."""
    module = tf.Module()
    module.filters = tf.Variable(noise([3, 3, 2, 4], 1))
    module.depthwise = tf.Variable(noise([3, 3, 2, 2], 2))

    @signature(x=([None, None, None, 2], tf.float32))
    def convolve(x: tf.Tensor) -> dict[str, tf.Tensor]:
        forward = tf.nn.conv2d(x, module.filters, 2, "SAME")
        shape = tf.concat([tf.shape(forward)[:3], [2]], axis=0) * [1, 2, 2, 1]
        return {
            "conv": tf.nn.relu(forward),
            "dilated": tf.nn.conv2d(x, module.filters, 1, "VALID", dilations=2),
            "depthwise": tf.nn.depthwise_conv2d(x, module.depthwise, [1, 1, 1, 1], "SAME"),
            "transposed": tf.nn.conv2d_transpose(forward, module.filters, shape, 2),
            "max_pool": tf.nn.max_pool2d(x, 2, 2, "VALID"),
            "avg_pool": tf.nn.avg_pool2d(x, 3, 1, "SAME"),
        }

    save(path, convolve, module)
    return [Call({"x": noise([2, 8, 6, 2], 3)}), Call({"x": noise([1, 6, 10, 2], 4)})]
