"""Exports one model of Keras Applications. Needs TensorFlow's Python.

    python benchmarks/keras_models.py OUT_DIR NAME

Writes OUT_DIR/NAME, and last OUT_DIR/NAME.json: the bytes of its weights. Nothing is downloaded:
the weights are random, and the same each time.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np

SEED = 0
BATCH = 4


def make(name: str) -> keras.Model:
    """The model, with batch norms that do something, as if it had been trained.

    Random scales and offsets, and the statistics of a random batch: with random statistics the
    activations of deep models would overflow, or all answers be one.
    """
    keras.utils.set_random_seed(SEED)
    model = getattr(keras.applications, name)(weights=None)
    generator = np.random.default_rng(SEED)
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for norm in norms:
        gamma, beta, *_ = norm.weights
        gamma.assign(generator.uniform(0.5, 1.5, gamma.shape))
        beta.assign(generator.normal(0, 0.2, beta.shape))
        norm.momentum = 0.0  # the batch's statistics alone
    images = generator.uniform(0, 1, (BATCH, *model.input_shape[1:]))
    model(images.astype(np.float32), training=True)
    return model


def main() -> None:
    """Export it."""
    folder, name = Path(sys.argv[1]), sys.argv[2]
    model = make(name)
    model.export(str(folder / name), verbose=False)
    size = sum(int(np.prod(weight.shape)) * 4 for weight in model.weights)
    (folder / f"{name}.json").write_text(json.dumps({"weight_bytes": size}))


if __name__ == "__main__":
    main()
