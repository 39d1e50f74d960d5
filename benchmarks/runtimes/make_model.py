"""Exports one of the two models of layers that Keras Applications does not have.

    python benchmarks/runtimes/make_model.py OUT_DIR LSTM|transformer

Writes OUT_DIR/NAME, and last OUT_DIR/NAME.complete. The weights are random, and the same each time.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import tensorflow as tf
from keras import layers

SEED = 0

# BERT-small: 4 layers of 512 units, 8 heads.
LAYERS, UNITS, HEADS, FEED_FORWARD_UNITS, TOKENS = 4, 512, 8, 2048, 128


def lstm() -> keras.Model:
    """One layer of 64 units over 16 steps, and a dense layer."""
    inputs = keras.Input((16, 64))
    return keras.Model(inputs, layers.Dense(10)(layers.LSTM(64)(inputs)))


def gelu(x: Any) -> Any:
    """As in BERT. Keras's own uses Erfc, which has no counterpart in ONNX."""
    return 0.5 * x * (1.0 + tf.math.erf(x * 0.5**0.5))


def transformer() -> keras.Model:
    """An encoder of embedded tokens, normalised after each sum."""
    inputs = x = keras.Input((TOKENS, UNITS))
    for _ in range(LAYERS):
        attended = layers.MultiHeadAttention(HEADS, UNITS // HEADS)(x, x)
        x = layers.LayerNormalization()(layers.Add()([x, attended]))
        hidden = layers.Dense(FEED_FORWARD_UNITS, activation=gelu)(x)
        x = layers.LayerNormalization()(layers.Add()([x, layers.Dense(UNITS)(hidden)]))
    return keras.Model(inputs, x)


def main() -> None:
    """Export it."""
    folder, name = Path(sys.argv[1]), sys.argv[2]
    keras.utils.set_random_seed(SEED)
    model = {"LSTM": lstm, "transformer": transformer}[name]()
    model.export(str(folder / name), verbose=False)
    (folder / f"{name}.complete").touch()


if __name__ == "__main__":
    main()
