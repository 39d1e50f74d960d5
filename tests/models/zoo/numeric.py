"""Kernels of many kinds, so that no family of ops is missing from a runtime."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from zoo.registry import Call, array, model, noise, save, signature


@model()
def einsum(path: str) -> list[Call]:
    """Contractions with an ellipsis, which become Einsum nodes of their own equations."""

    @signature(q=([None, None, 4], tf.float32), k=([None, None, 4], tf.float32))
    def attention(q: tf.Tensor, k: tf.Tensor) -> dict[str, tf.Tensor]:
        scores = tf.einsum("bqd,bkd->bqk", q, k)
        return {"scores": tf.nn.softmax(scores), "trace": tf.einsum("...ij->...", q)}

    save(path, attention)
    return [Call({"q": noise([2, 3, 4], 1), "k": noise([2, 5, 4], 2)})]


@model()
def fft(path: str) -> list[Call]:
    """Complex tensors in and out, single and double."""

    @signature(x=([None, 8], tf.complex64), d=([16], tf.float64))
    def transform(x: tf.Tensor, d: tf.Tensor) -> dict[str, tf.Tensor]:
        return {
            "fft": tf.signal.fft(x),
            "round_trip": tf.signal.ifft(tf.signal.fft(x)),
            "rfft": tf.signal.rfft(d),
            "magnitude": tf.abs(x),
            "stft": tf.signal.stft(tf.cast(d, tf.float32), 8, 4),
        }

    save(path, transform)
    x = (noise([2, 8], 1) + 1j * noise([2, 8], 2)).astype(np.complex64)
    return [Call({"x": x, "d": noise([16], 3, np.float64)})]


@model()
def ranking(path: str) -> list[Call]:
    """Integer outputs of several widths, with ties to break as TensorFlow does."""

    @signature(x=([None, None], tf.float32), k=([], tf.int32))
    def rank(x: tf.Tensor, k: tf.Tensor) -> dict[str, tf.Tensor]:
        top = tf.math.top_k(x, k)
        return {
            "values": top.values,
            "indices": top.indices,
            "argmax": tf.argmax(x, axis=1),
            "argmin": tf.argmin(x, axis=0, output_type=tf.int32),
            "sorted": tf.sort(x, direction="DESCENDING"),
            "argsort": tf.argsort(x, stable=True),
            "in_top": tf.math.in_top_k(tf.zeros(tf.shape(x)[:1], tf.int32), x, 2),
        }

    save(path, rank)
    x = array([[3, 1, 3, 2], [0, 0, 0, 0], [-1, np.inf, 5, 5]])
    return [Call({"x": x, "k": array(2, "int32")}), Call({"x": x, "k": array(0, "int32")})]


@model()
def dynamic_shapes(path: str) -> list[Call]:
    """Outputs whose shape follows from the values, down to no elements at all."""

    @signature(x=([None], tf.int32))
    def select(x: tf.Tensor) -> dict[str, tf.Tensor]:
        unique = tf.unique_with_counts(x)
        return {
            "positive": tf.boolean_mask(x, x > 0),
            "where": tf.where(x > 0),
            "unique": unique.y,
            "index": unique.idx,
            "count": unique.count,
            "repeated": tf.repeat(x, tf.maximum(x, 0)),
            "histogram": tf.math.bincount(tf.maximum(x, 0)),
        }

    save(path, select)
    return [
        Call({"x": array([3, -1, 3, 2, 0], "int32")}),
        Call({"x": array([-1, -1], "int32")}),
        Call({"x": array([], "int32")}),
    ]


@model()
def sparse_dense_matmul(path: str) -> list[Call]:
    """A sparse tensor assembled from dense inputs, as feature columns do."""
    module = tf.Module()
    module.weight = tf.Variable(noise([6, 3], 1))

    @signature(indices=([None, 2], tf.int64), values=([None], tf.float32), shape=([2], tf.int64))
    def multiply(indices: tf.Tensor, values: tf.Tensor, shape: tf.Tensor) -> dict[str, tf.Tensor]:
        sparse = tf.sparse.reorder(tf.SparseTensor(indices, values, shape))
        ids = tf.SparseTensor(sparse.indices, sparse.indices[:, 1], sparse.dense_shape)
        return {
            "product": tf.sparse.sparse_dense_matmul(sparse, module.weight),
            "dense": tf.sparse.to_dense(sparse),
            "sums": tf.sparse.reduce_sum(sparse, axis=1),
            "embedded": tf.nn.embedding_lookup_sparse(module.weight, ids, sparse, combiner="mean"),
        }

    save(path, multiply, module)
    indices = array([[1, 5], [0, 0], [1, 2]], "int64")
    values = array([2, 3, 4])
    return [Call({"indices": indices, "values": values, "shape": array([2, 6], "int64")})]


@model()
def stateless_random(path: str) -> list[Call]:
    """Random numbers that a seed in the call decides, so every runtime must agree."""

    @signature(seed=([2], tf.int32))
    def draw(seed: tf.Tensor) -> dict[str, tf.Tensor]:
        return {
            "normal": tf.random.stateless_normal([4], seed),
            "uniform": tf.random.stateless_uniform([2, 2], seed, dtype=tf.float64),
            "integers": tf.random.stateless_uniform([5], seed, 0, 100, tf.int32),
            "truncated": tf.random.stateless_truncated_normal([3], seed),
            "shuffled": tf.random.experimental.stateless_shuffle(tf.range(8), seed),
        }

    save(path, draw)
    return [Call({"seed": array(seed, "int32")}) for seed in ([1, 2], [0, 0], [-5, 7])]


@model()
def linear_algebra(path: str) -> list[Call]:
    """Kernels that call into LAPACK-like code, in double precision."""

    @signature(a=([None, 3, 3], tf.float64))
    def decompose(a: tf.Tensor) -> dict[str, tf.Tensor]:
        positive = tf.matmul(a, a, transpose_b=True) + tf.eye(3, dtype=tf.float64)
        return {
            "cholesky": tf.linalg.cholesky(positive),
            "inverse": tf.linalg.inv(positive),
            "determinant": tf.linalg.det(positive),
            "eigenvalues": tf.linalg.eigvalsh(positive),
            "singular": tf.linalg.svd(a, compute_uv=False),
            "solved": tf.linalg.solve(positive, a),
            "band": tf.linalg.band_part(a, 0, -1),
        }

    save(path, decompose)
    return [Call({"a": noise([2, 3, 3], 1, np.float64)}), Call({"a": np.zeros((0, 3, 3))})]


@model()
def ragged_internals(path: str) -> list[Call]:
    """Ragged tensors that are variants, maps and concatenations between dense ends."""

    @signature(values=([None], tf.float32), lengths=([None], tf.int64))
    def pool(values: tf.Tensor, lengths: tf.Tensor) -> dict[str, tf.Tensor]:
        ragged = tf.RaggedTensor.from_row_lengths(values, lengths)
        doubled = tf.map_fn(lambda row: row * 2.0, ragged)
        return {
            "sums": tf.reduce_sum(ragged, axis=1),
            "doubled": doubled.to_tensor(-1.0),
            "joined": tf.concat([ragged, ragged], axis=1).to_tensor(),
            "row_ids": ragged.value_rowids(),
        }

    save(path, pool)
    return [
        Call({"values": array([1, 2, 3, 4]), "lengths": array([3, 0, 1], "int64")}),
        Call({"values": array([]), "lengths": array([0, 0], "int64")}),
    ]


@model()
def half_precision(path: str) -> list[Call]:
    """Matrix products in the 16-bit formats, with weights stored in them."""
    module = tf.Module()
    module.half = tf.Variable(noise([8, 4], 1, np.float16))
    module.brain = tf.Variable(tf.cast(noise([8, 4], 1), tf.bfloat16))

    @signature(h=([None, 8], tf.float16), b=([None, 8], tf.bfloat16))
    def multiply(h: tf.Tensor, b: tf.Tensor) -> dict[str, tf.Tensor]:
        return {
            "half": h @ module.half,
            "brain": b @ module.brain,
            "mixed": tf.cast(h, tf.float32) @ tf.cast(module.brain, tf.float32),
            "softmax": tf.nn.softmax(h),
        }

    save(path, multiply, module)
    x = noise([3, 8], 2)
    brain = x.astype(tf.bfloat16.as_numpy_dtype)
    return [Call({"h": x.astype(np.float16), "b": brain})]


@model()
def segments(path: str) -> list[Call]:
    """Gathers, scatters, cumulative and segment sums, and quantize/dequantize in one graph."""

    @signature(x=([None, 2], tf.float32), ids=([None], tf.int32))
    def reduce(x: tf.Tensor, ids: tf.Tensor) -> dict[str, tf.Tensor]:
        count = tf.reduce_max(ids) + 1
        return {
            "sum": tf.math.unsorted_segment_sum(x, ids, count),
            "mean": tf.math.unsorted_segment_mean(x, ids, count),
            "cumulative": tf.cumsum(x, exclusive=True, reverse=True),
            "gathered": tf.gather(x, ids[::-1]),
            "scattered": tf.scatter_nd(ids[:, None], x, [6, 2]),
            "one_hot": tf.one_hot(ids, 4, dtype=tf.uint8),
            "fake_quantized": tf.quantization.fake_quant_with_min_max_args(x, -2, 2),
            "strided": x[::-1, tf.newaxis, 1:],
        }

    save(path, reduce)
    return [Call({"x": noise([5, 2], 1), "ids": array([0, 2, 0, 1, 2], "int32")})]
