"""Recurrent networks: a loop over time, written by hand and as Keras exports it."""

from __future__ import annotations

import keras
import tensorflow as tf

from zoo.registry import Call, model, noise, save, signature

UNITS = 4
FEATURES = 3


class LSTMCell(tf.Module):
    """The textbook cell, so that the loop around it is the only thing under test."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = tf.Variable(noise([FEATURES + UNITS, 4 * UNITS], 1))
        self.bias = tf.Variable(noise([4 * UNITS], 2))

    def step(self, x: tf.Tensor, h: tf.Tensor, c: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        gates = tf.concat([x, h], axis=1) @ self.kernel + self.bias
        i, f, g, o = tf.split(gates, 4, axis=1)
        c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
        return tf.sigmoid(o) * tf.tanh(c), c


@model()
def lstm_while_loop(path: str) -> list[Call]:
    """Batch and time both unknown, the outputs gathered in a TensorArray."""
    cell = LSTMCell()

    @signature(x=([None, None, FEATURES], tf.float32))
    def run(x: tf.Tensor) -> dict[str, tf.Tensor]:
        batch, steps = tf.shape(x)[0], tf.shape(x)[1]
        zeros = tf.zeros([batch, UNITS])
        outputs = tf.TensorArray(tf.float32, size=steps, element_shape=[None, UNITS])

        def body(
            time: tf.Tensor, h: tf.Tensor, c: tf.Tensor, outputs: tf.TensorArray
        ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.TensorArray]:
            h, c = cell.step(x[:, time], h, c)
            return time + 1, h, c, outputs.write(time, h)

        shapes = (tf.TensorShape([]), tf.TensorShape([None, UNITS]), tf.TensorShape([None, UNITS]))
        _, h, c, outputs = tf.while_loop(
            lambda time, *_: time < steps,
            body,
            (0, zeros, zeros, outputs),
            shape_invariants=(*shapes, tf.TensorShape(None)),
        )
        return {"sequence": tf.transpose(outputs.stack(), [1, 0, 2]), "h": h, "c": c}

    save(path, run, cell)
    return [Call({"x": noise([2, 5, FEATURES], 3)}), Call({"x": noise([1, 1, FEATURES], 4)})]


@model()
def lstm_scan(path: str) -> list[Call]:
    """The same cell under `tf.scan`, its state passed in and handed back."""
    cell = LSTMCell()

    @signature(
        x=([None, None, FEATURES], tf.float32),
        h=([None, UNITS], tf.float32),
        c=([None, UNITS], tf.float32),
    )
    def run(x: tf.Tensor, h: tf.Tensor, c: tf.Tensor) -> dict[str, tf.Tensor]:
        hs, cs = tf.scan(
            lambda state, row: cell.step(row, *state),
            tf.transpose(x, [1, 0, 2]),
            initializer=(h, c),
        )
        return {"sequence": tf.transpose(hs, [1, 0, 2]), "h": hs[-1], "c": cs[-1]}

    save(path, run, cell)
    return [
        Call(
            {
                "x": noise([2, 4, FEATURES], 5),
                "h": noise([2, UNITS], 6),
                "c": noise([2, UNITS], 7),
            }
        )
    ]


def export(path: str, layers: list[keras.Layer]) -> list[Call]:
    inputs = keras.Input([None, FEATURES], name="x")
    outputs = inputs
    for layer in layers:
        outputs = layer(outputs)
    keras.Model(inputs, outputs).export(path, verbose=False)
    return [Call({"x": noise([2, 6, FEATURES], 8)}), Call({"x": noise([1, 1, FEATURES], 9)})]


@model()
def keras_lstm(path: str) -> list[Call]:
    """Two stacked layers, the first returning its sequence."""
    return export(path, [keras.layers.LSTM(5, return_sequences=True), keras.layers.LSTM(3)])


@model()
def keras_gru(path: str) -> list[Call]:
    """The GRU as Keras writes it, with its two biases."""
    return export(path, [keras.layers.GRU(5, return_sequences=True)])


@model()
def keras_bidirectional(path: str) -> list[Call]:
    """A second loop that runs backwards over the same input."""
    return export(path, [keras.layers.Bidirectional(keras.layers.LSTM(4))])
