"""The SavedModel that the command-line section of TensorFlow's SavedModel guide talks of.

    python tests/models/guide_command.py FOLDER

y = x / 2 + 2, y2 = x / 2 + 3, y3 = x2 / 2 + 3, with tag sets "serve" and "serve,gpu"; beside the
guide's signatures one for each of its kinds of input.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import tensorflow as tf

tf1 = tf.compat.v1


def make(path: Path) -> None:
    """Saves it."""
    builder = tf1.saved_model.builder.SavedModelBuilder(str(path))
    with tf1.Session(graph=tf1.Graph()) as session:
        half = tf1.get_variable("a", initializer=0.5, use_resource=True)
        two = tf1.get_variable("b", initializer=2.0, use_resource=True)
        three = tf1.get_variable("c", initializer=3.0, use_resource=True)
        x = tf1.placeholder(tf.float32, [None, 1], "x")
        x2 = tf1.placeholder(tf.float32, [None, 1], "x2")
        y = tf.add(half * x, two, "y")
        y2 = tf.add(half * x, three, "y2")
        y3 = tf.add(half * x2, three, "y3")
        image = tf1.placeholder(tf.float32, [None, None, 3], "image")
        examples = tf1.placeholder(tf.string, [None], "examples")
        features = {
            "age": tf.io.FixedLenFeature([2], tf.int64),
            "education": tf.io.FixedLenFeature([2], tf.string),
        }
        parsed = tf.io.parse_example(examples, features)

        def signature(inputs: dict[str, Any], outputs: dict[str, Any], method: str) -> Any:
            def infos(tensors: dict[str, Any]) -> dict[str, Any]:
                build = tf1.saved_model.utils.build_tensor_info
                return {key: build(tensor) for key, tensor in tensors.items()}

            return tf1.saved_model.signature_def_utils.build_signature_def(
                infos(inputs), infos(outputs), f"tensorflow/serving/{method}"
            )

        signatures = {
            "classify_x2_to_y3": signature({"inputs": x2}, {"scores": y3}, "classify"),
            "classify_x_to_y": signature({"inputs": x}, {"scores": y}, "classify"),
            "regress_x2_to_y3": signature({"inputs": x2}, {"outputs": y3}, "regress"),
            "regress_x_to_y": signature({"inputs": x}, {"outputs": y}, "regress"),
            "regress_x_to_y2": signature({"inputs": x}, {"outputs": y2}, "regress"),
            "serving_default": signature({"x": x}, {"y": y}, "predict"),
        }
        others = {
            "x1_x2_to_y": signature({"x1": x, "x2": x2}, {"y": y + y3}, "predict"),
            "brightness": signature(
                {"image": image}, {"mean": tf.reduce_mean(image, [0, 1])}, "predict"
            ),
            "parse": signature(
                {"examples": examples},
                {"age": parsed["age"], "education": parsed["education"]},
                "predict",
            ),
        }
        session.run(tf1.global_variables_initializer())
        builder.add_meta_graph_and_variables(session, ["serve"], signatures)
        builder.add_meta_graph(["serve", "gpu"], signatures | others)
    builder.save()


if __name__ == "__main__":
    make(Path(sys.argv[1]) / "saved_model_dir")
