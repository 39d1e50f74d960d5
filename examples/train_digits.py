"""Train the handwritten digit classifier that `savedmodel demo` runs.

The images are scikit-learn's `load_digits`: 1797 real handwritten digits of 8x8 pixels. One fifth,
drawn per class, is held out and never trained on. Writes into the output folder:

    digits/           the classifier, a SavedModel as Keras' `model.export` writes it
    digits_test.npz   the held-out `images` (uint8, 0..16) and `labels` (uint8)

Needs TensorFlow, Keras 3 and scikit-learn; what it writes needs none of them.

    python examples/train_digits.py --output python/savedmodel/data
"""

from __future__ import annotations

import argparse
import os
import shutil
from pathlib import Path
from typing import Any

# Both are read once, when Keras and TensorFlow are first imported.
os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

Bytes = npt.NDArray[np.uint8]

SEED = 1998  # The year of the data set.
HELD_OUT = 0.2
EPOCHS = 40
BATCH_SIZE = 64
PIXEL_MAX = 16.0  # Each pixel counts the inked points of a 4x4 block.
DEFAULT_OUTPUT = Path(__file__).resolve().parents[1] / "python" / "savedmodel" / "data"


def load_split() -> tuple[tuple[Bytes, Bytes], tuple[Bytes, Bytes]]:
    """Return ((images, labels), (images, labels)): for training, and held out; all uint8."""
    digits = load_digits()
    images, test_images, labels, test_labels = train_test_split(
        digits.images.astype(np.uint8),
        digits.target.astype(np.uint8),
        test_size=HELD_OUT,
        stratify=digits.target,
        random_state=SEED,
    )
    return (images, labels), (test_images, test_labels)


def to_input(images: Bytes) -> npt.NDArray[np.float32]:
    """Scale uint8 images of 0..16 to what the classifier takes: float32 (n, 8, 8, 1) in 0..1."""
    return (images.astype(np.float32) / np.float32(PIXEL_MAX))[..., np.newaxis]


def with_shifts(images: Bytes, labels: Bytes) -> tuple[Bytes, Bytes]:
    """Add a copy of each image shifted by one pixel in each of the four directions.

    A digit one pixel off is the same digit, and 1437 images alone do not teach that.
    """
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    offsets = [(1, 1), (0, 1), (2, 1), (1, 0), (1, 2)]
    shifted = [padded[:, row : row + 8, column : column + 8] for row, column in offsets]
    return np.concatenate(shifted), np.tile(labels, len(offsets))


def build_model() -> Any:
    """Build the untrained classifier: `image` (None, 8, 8, 1) to `probabilities` (None, 10)."""
    image = keras.Input((8, 8, 1), name="image")
    x = keras.layers.Conv2D(16, 3, padding="same", activation="relu")(image)
    x = keras.layers.Conv2D(32, 3, padding="same", activation="relu")(x)
    x = keras.layers.MaxPooling2D()(x)
    x = keras.layers.Dropout(0.25)(x)
    x = keras.layers.Conv2D(32, 3, padding="same", activation="relu")(x)
    x = keras.layers.Flatten()(x)
    x = keras.layers.Dropout(0.5)(x)
    probabilities = keras.layers.Dense(10, activation="softmax", name="probabilities")(x)
    # Outputs given as a dict keep their names in the signature; a lone tensor would be `output_0`.
    return keras.Model(image, {"probabilities": probabilities}, name="digits")


def train(images: Bytes, labels: Bytes) -> Any:
    """Train the classifier. It never sees the held-out images, not even to decide when to stop."""
    model = build_model()
    steps = EPOCHS * -(-len(images) // BATCH_SIZE)
    model.compile(
        optimizer=keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(2e-3, steps)),
        loss={"probabilities": "sparse_categorical_crossentropy"},
    )
    model.fit(to_input(images), {"probabilities": labels}, BATCH_SIZE, EPOCHS, verbose=2)
    return model


def export(model: Any, path: Path) -> None:
    """Write `model` as a SavedModel at `path`, in place of what is there."""
    shutil.rmtree(path, ignore_errors=True)
    model.export(str(path), verbose=False)
    # The classifier has no asset files, and neither git nor a wheel holds an empty folder.
    (path / "assets").rmdir()


def saved_model_accuracy(path: Path, images: Bytes, labels: Bytes) -> tuple[int, int]:
    """Return (correct, total) of the SavedModel at `path`, as TensorFlow loads and runs it."""
    signature = tf.saved_model.load(str(path)).signatures["serving_default"]
    outputs = signature(image=tf.constant(to_input(images)))
    predictions = np.argmax(outputs["probabilities"].numpy(), axis=1)
    return int(np.sum(predictions == labels)), len(labels)


def main() -> None:
    """Train, export, and measure the exported SavedModel on the held-out digits."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--output",
        type=Path,
        default=DEFAULT_OUTPUT,
        metavar="DIR",
        help="folder for digits/ and digits_test.npz (default: %(default)s)",
    )
    output: Path = parser.parse_args().output

    keras.utils.set_random_seed(SEED)
    tf.config.experimental.enable_op_determinism()

    (images, labels), (test_images, test_labels) = load_split()
    model = train(*with_shifts(images, labels))

    output.mkdir(parents=True, exist_ok=True)
    export(model, output / "digits")
    np.savez_compressed(output / "digits_test.npz", images=test_images, labels=test_labels)

    correct, total = saved_model_accuracy(output / "digits", test_images, test_labels)
    print(f"held-out accuracy by TensorFlow: {correct}/{total} = {correct / total:.4f}")


if __name__ == "__main__":
    main()
