"""Branches and loops, whose bodies are functions in the SavedModel's library."""

from __future__ import annotations

import tensorflow as tf

from zoo.registry import Call, array, model, save, signature


@model()
def cond(path: str) -> list[Call]:
    """Only one branch may run: the other fails an assertion."""

    @signature(x=([], tf.float32), take=([], tf.bool))
    def branch(x: tf.Tensor, take: tf.Tensor) -> dict[str, tf.Tensor]:
        def guarded() -> tf.Tensor:
            with tf.control_dependencies([tf.debugging.assert_positive(x)]):
                return tf.math.log(x)

        return {"y": tf.cond(take, guarded, lambda: -x)}

    save(path, branch)
    return [
        Call({"x": array(2.0), "take": array(True, bool)}),
        Call({"x": array(-2.0), "take": array(False, bool)}),
    ]


@model()
def while_loop(path: str) -> list[Call]:
    """A trip count known only at run time, zero among them."""

    @signature(n=([], tf.int32))
    def fibonacci(n: tf.Tensor) -> dict[str, tf.Tensor]:
        one = tf.constant(1, tf.int64)
        _, result, _ = tf.while_loop(
            lambda step, a, b: step < n,
            lambda step, a, b: (step + 1, b, a + b),
            (tf.constant(0), tf.constant(0, tf.int64), one),
        )
        return {"y": result}

    save(path, fibonacci)
    return [Call({"n": array(n, "int32")}) for n in (0, 1, 10, 90)]


@model()
def nested_loops(path: str) -> list[Call]:
    """A loop and a branch in a loop, each closing over the outer one's values."""

    @signature(x=([None], tf.int32))
    def collatz(x: tf.Tensor) -> dict[str, tf.Tensor]:
        total = tf.constant(0)
        longest = tf.constant(0)
        odd = tf.constant(0)
        for start in x:
            value = start
            steps = tf.constant(0)
            while value > 1:
                if value % 2 == 0:
                    value = value // 2
                else:
                    value = 3 * value + 1
                    odd += 1
                steps += 1
                if steps > 100:
                    break
            total += steps
            longest = tf.maximum(longest, steps)
        return {"total": total, "longest": longest, "odd": odd}

    save(path, collatz)
    return [Call({"x": array([1, 7, 27], "int32")}), Call({"x": array([], "int32")})]


@model()
def tensor_array(path: str) -> list[Call]:
    """A TensorArray grown in a loop: a variant tensor that lives only within the call."""

    @signature(x=([None, 2], tf.float32))
    def prefix_products(x: tf.Tensor) -> dict[str, tf.Tensor]:
        rows = tf.shape(x)[0]
        products = tf.TensorArray(tf.float32, size=rows, element_shape=[2])
        running = tf.ones([2])
        for row in tf.range(rows):
            running *= x[row]
            products = products.write(row, running)
        return {"stacked": products.stack(), "last": running}

    save(path, prefix_products)
    return [Call({"x": array([[1, 2], [3, 4], [5, 6]])}), Call({"x": array([[2, 2]])})]


@model()
def switch_case(path: str) -> list[Call]:
    """More than two branches, and an index out of range that takes the default."""

    @signature(index=([], tf.int32), x=([], tf.float32))
    def choose(index: tf.Tensor, x: tf.Tensor) -> dict[str, tf.Tensor]:
        branches = [lambda: x + 1.0, lambda: x * 10.0, lambda: tf.sqrt(x)]
        return {"y": tf.switch_case(index, branches, default=lambda: -x)}

    save(path, choose)
    return [Call({"index": array(i, "int32"), "x": array(4.0)}) for i in (0, 1, 2, 3, -1)]


@model()
def map_fn(path: str) -> list[Call]:
    """Elements mapped in parallel iterations, to another dtype and rank."""

    @signature(x=([None, None], tf.float32))
    def rows(x: tf.Tensor) -> dict[str, tf.Tensor]:
        spec = tf.TensorSpec([], tf.string)
        return {
            "text": tf.map_fn(
                lambda row: tf.strings.as_string(tf.reduce_sum(row), precision=2),
                x,
                fn_output_signature=spec,
            ),
            "vectorized": tf.vectorized_map(lambda row: row / (1.0 + tf.reduce_sum(row)), x),
        }

    save(path, rows)
    return [Call({"x": array([[1, 2], [3, 4]])}), Call({"x": array([[0.5, 0.25, 0.125]])})]


@model()
def scan(path: str) -> list[Call]:
    """State of several dtypes carried from one element to the next."""

    @signature(x=([None], tf.float32))
    def running(x: tf.Tensor) -> dict[str, tf.Tensor]:
        total, count = tf.scan(
            lambda state, value: (state[0] + value, state[1] + 1),
            x,
            initializer=(tf.constant(0.0), tf.constant(0, tf.int64)),
        )
        return {"total": total, "count": count}

    save(path, running)
    return [Call({"x": array([1, 2, 3])}), Call({"x": array([0.5])})]
