"""Write `module/`, the SavedModel of the C++ tests of the object graph. Needs TensorFlow 2.21.

python tests/cpp/data/make_module.py
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import tensorflow as tf

OUTPUT = Path(__file__).resolve().parent / "module"


class Affine(tf.Module):
    """A layer with weights that are no round numbers."""

    def __init__(self, kernel: list[list[float]], bias: list[float]) -> None:
        super().__init__()
        self.kernel = tf.Variable(kernel)
        self.bias = tf.Variable(bias)


class Module(tf.Module):
    """The module of TensorFlow's SavedModel guide, and what else an object graph can hold."""

    def __init__(self, vocabulary: str) -> None:
        super().__init__()
        self.v = tf.Variable(1.0)
        self.count = tf.Variable(5, dtype=tf.int64, trainable=False)
        self.layers = [
            Affine([[0.5, -0.25], [0.125, 1.0]], [0.1, -0.2]),
            Affine([[1.5], [-0.75]], [0.3]),
        ]
        self.by_name = {"first": self.layers[0], "second": self.layers[1]}
        self.pair = (self.v, self.count)
        self.itself = self
        self.vocabulary = tf.saved_model.Asset(vocabulary)
        self.table = tf.lookup.StaticHashTable(
            tf.lookup.TextFileInitializer(
                self.vocabulary,
                tf.string,
                tf.lookup.TextFileIndex.WHOLE_LINE,
                tf.int64,
                tf.lookup.TextFileIndex.LINE_NUMBER,
            ),
            default_value=-1,
        )

    @tf.function
    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """The guide's."""
        return x * self.v

    @tf.function(input_signature=[tf.TensorSpec([], tf.float32)])
    def mutate(self, new_v: tf.Tensor) -> None:
        """The guide's."""
        self.v.assign(new_v)

    @tf.function(input_signature=[])
    def increment(self) -> tf.Tensor:
        """Adds one, and returns the sum."""
        return self.count.assign_add(1)

    @tf.function
    def forward(self, x: tf.Tensor, training: bool = False) -> dict[str, tf.Tensor]:
        """Both layers; in training without the nonlinearity."""
        first, second = self.layers
        hidden = x @ first.kernel + first.bias
        if not training:
            hidden = tf.tanh(hidden)
        return {"score": tf.nn.softplus(hidden @ second.kernel + second.bias)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def lookup(self, words: tf.Tensor) -> tf.Tensor:
        """The line of each word in the vocabulary."""
        return self.table.lookup(words)

    @tf.function(input_signature=[tf.TensorSpec([], tf.float32)])
    def power(self, limit: tf.Tensor) -> tf.Tensor:
        """A loop, which has no C++ gradient."""
        y = self.v
        while y < limit:
            y = y * (self.v + 1.0)
        return y


def main() -> None:
    """Trace and save it."""
    shutil.rmtree(OUTPUT, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        vocabulary = Path(folder) / "words.txt"
        vocabulary.write_text("zero\none\ntwo\n")
        module = Module(str(vocabulary))
        module(tf.constant(0.0))
        rows = tf.TensorSpec([None, 2], tf.float32)
        forward = module.forward.get_concrete_function(rows)
        module.forward.get_concrete_function(rows, training=True)
        signatures = {"serving_default": forward, "lookup": module.lookup}
        tf.saved_model.save(module, str(OUTPUT), signatures=signatures)


if __name__ == "__main__":
    main()
