"""Signatures whose rows can be batched, and some whose cannot."""

from __future__ import annotations

import tensorflow as tf

from zoo.registry import Call, array, model, save, strings
from zoo.tf1 import save_session, session, signature_def, v1


@model(in_session=True)
def batching(path: str) -> list[Call]:
    """One signature for each thing that batching must get right.

    `any` tells the size of the batch that ran. `gated` waits for a token of a queue, which `open`
    puts there, so that a test decides when a batch ends.
    """
    with session() as running:
        x = v1.placeholder(tf.float32, [None, 3], name="x")
        ids = v1.placeholder(tf.int64, [None], name="ids")
        words = v1.placeholder(tf.string, [None], name="words")
        matrix = v1.placeholder(tf.float32, [None, None], name="matrix")
        vector = v1.placeholder(tf.float32, [None], name="vector")
        tokens = v1.placeholder(tf.int32, [], name="tokens")

        rows = tf.shape(matrix)[0]
        positive = v1.assert_non_negative(vector, message="the batch holds a negative number")
        with tf.control_dependencies([positive]):
            root = tf.sqrt(vector)
        gate = v1.FIFOQueue(-1, tf.int32, shared_name="gate")
        with tf.control_dependencies([gate.dequeue()]):
            passed = tf.identity(vector) * 2.0
        with tf.control_dependencies([gate.enqueue_many([tf.zeros([tokens], tf.int32)])]):
            opened = tf.identity(tokens)
        save_session(
            path,
            running,
            {
                "features": signature_def(
                    {"x": x, "ids": ids},
                    {"sum": tf.reduce_sum(x, axis=1), "ids": ids + 1},
                ),
                "words": signature_def(
                    {"words": words}, {"upper": tf.strings.upper(words), "words": words}
                ),
                "any": signature_def(
                    {"matrix": matrix},
                    {"doubled": matrix * 2.0, "size": tf.fill([rows], rows)},
                ),
                "root": signature_def({"x": vector}, {"root": root}),
                "gated": signature_def({"x": vector}, {"passed": passed}),
                "open": signature_def({"tokens": tokens}, {"opened": opened}),
                "total": signature_def({"x": x}, {"total": tf.reduce_sum(x)}),
                "unique": signature_def({"x": vector}, {"unique": tf.unique(vector).y}),
                "fixed": signature_def(
                    {"x": v1.placeholder(tf.float32, [4], name="four")}, {"y": tf.zeros([4])}
                ),
            },
        )
    return [
        Call({"x": array([[1, 2, 3], [4, 5, 6]]), "ids": array([7, 8], "int64")}, "features"),
        Call({"words": strings([b"a", b"", b"some longer word than is kept inline"])}, "words"),
        Call({"matrix": array([[1, 2], [3, 4], [5, 6]])}, "any"),
    ]


@model(in_session=True)
def batching_with_default(path: str) -> list[Call]:
    """An input without rows that a caller may leave out."""

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.float32, name="x"),
            tf.TensorSpec([], tf.float32, name="scale"),
        ]
    )
    def scaled(x: tf.Tensor, scale: tf.Tensor = tf.constant(2.5)) -> tf.Tensor:  # noqa: B008
        return {"y": x * scale}

    save(path, scaled)
    return [Call({"x": array([1, 2])})]
