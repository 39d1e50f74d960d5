"""Signatures over sparse and ragged tensors, which travel as their component tensors.

TF2 saves an input of these as plain inputs `x`, `x_1`..., and an output as a composite TensorInfo.
"""

from __future__ import annotations

import tensorflow as tf

from zoo.registry import Call, array, model, save


@model()
def sparse_input(path: str) -> list[Call]:
    """The three components of a TF2 SparseTensor input, in TF2's names."""

    @tf.function(input_signature=[tf.SparseTensorSpec([None, 4], tf.float32)])
    def densify(x: tf.SparseTensor) -> dict[str, tf.Tensor]:
        return {"dense": tf.sparse.to_dense(x), "count": tf.size(x.values)}

    save(path, densify)
    return [
        Call(
            {
                "x": array([[0, 1], [2, 3]], "int64"),
                "x_1": array([1.5, -2.0]),
                "x_2": array([3, 4], "int64"),
            }
        )
    ]


@model()
def ragged_input(path: str) -> list[Call]:
    """The values and row splits of a TF2 RaggedTensor input, in TF2's names."""

    @tf.function(input_signature=[tf.RaggedTensorSpec([None, None], tf.float32)])
    def densify(x: tf.RaggedTensor) -> dict[str, tf.Tensor]:
        return {"dense": x.to_tensor(), "sums": tf.reduce_sum(x, axis=1)}

    save(path, densify)
    splits = array([0, 2, 2, 3], "int64")
    return [Call({"x": array([1, 2, 3]), "x_1": splits})]


@model()
def composite_outputs(path: str) -> list[Call]:
    """One name of the signature behind which several tensors come back."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def compose(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {
            "ragged": tf.RaggedTensor.from_value_rowids(x, tf.range(tf.size(x)) // 2),
            "sparse": tf.sparse.from_dense(tf.reshape(x, [1, -1])),
            "dense": x + 1.0,
        }

    save(path, compose)
    return [Call({"x": array([1, 0, 3])})]
