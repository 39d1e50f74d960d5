"""Write the module of TensorFlow's SavedModel guide, which fine_tune.py trains.

https://www.tensorflow.org/guide/saved_model. Needs TensorFlow; what it writes needs it no more.

    python examples/guide_module.py DIR
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # Read once, when TensorFlow is imported.

import tensorflow as tf


class CustomModule(tf.Module):  # type: ignore[misc]  # TensorFlow has no types.
    """A variable `v`, a function that multiplies by it, and one that sets it."""

    def __init__(self) -> None:
        super().__init__()
        self.v = tf.Variable(1.0)

    @tf.function  # type: ignore[untyped-decorator]
    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """Multiply."""
        return x * self.v

    @tf.function(input_signature=[tf.TensorSpec([], tf.float32)])  # type: ignore[untyped-decorator]
    def mutate(self, new_v: tf.Tensor) -> None:
        """Set `v`."""
        self.v.assign(new_v)


def main() -> None:
    """Trace the module for a scalar, and save it without any signature."""
    parser = argparse.ArgumentParser(description="Write the module of the SavedModel guide.")
    parser.add_argument("output", metavar="DIR")
    output: str = parser.parse_args().output
    module = CustomModule()
    module(tf.constant(0.0))
    tf.saved_model.save(module, output)


if __name__ == "__main__":
    main()
