"""Saves the models of this benchmark. Needs TensorFlow's Python.

    python benchmarks/overhead/models.py OUT_DIR

Each has a signature `serving_default` of one float32 input `x` and one output `y`. OUT_DIR/complete
is written last.
"""

from __future__ import annotations

import itertools
import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import tensorflow as tf

MLP_SIZES = (64, 128, 128, 10)


def scalar_multiply() -> Any:
    """y = x * 2 for one number: next to no work, so that a call is all overhead."""
    module = tf.Module()
    module.call = tf.function(
        lambda x: {"y": x * 2.0}, input_signature=[tf.TensorSpec([1], tf.float32, "x")]
    )
    return module


def pass_through() -> Any:
    """y = x."""
    module = tf.Module()
    module.call = tf.function(
        lambda x: {"y": tf.identity(x)}, input_signature=[tf.TensorSpec([None], tf.float32, "x")]
    )
    return module


def mlp() -> Any:
    """Three dense layers with variables, ReLU between them."""
    module = tf.Module()
    generator = tf.random.Generator.from_seed(0)
    module.weights = [
        tf.Variable(generator.normal([size, next_size], stddev=size**-0.5))
        for size, next_size in itertools.pairwise(MLP_SIZES)
    ]
    module.biases = [tf.Variable(generator.normal([size])) for size in MLP_SIZES[1:]]

    def call(x: Any) -> Any:
        for layer, (weights, bias) in enumerate(zip(module.weights, module.biases, strict=True)):
            x = (x if layer == 0 else tf.nn.relu(x)) @ weights + bias
        return {"y": x}

    module.call = tf.function(
        call, input_signature=[tf.TensorSpec([None, MLP_SIZES[0]], tf.float32, "x")]
    )
    return module


def main() -> None:
    """Save all of them."""
    folder = Path(sys.argv[1])
    for make in (scalar_multiply, pass_through, mlp):
        module = make()
        tf.saved_model.save(module, str(folder / make.__name__), signatures=module.call)
    (folder / "complete").touch()


if __name__ == "__main__":
    main()
