"""How signatures name, share, repeat and omit their inputs and outputs."""

from __future__ import annotations

import tensorflow as tf

from zoo.registry import Call, array, model, noise, save, signature, strings


@model()
def many_inputs_outputs(path: str) -> list[Call]:
    """Inputs whose alphabetical order is not their declared one, in four dtypes."""

    @signature(
        zeta=([None], tf.float32),
        alpha=([None], tf.int64),
        mid=([], tf.string),
        flag=([], tf.bool),
    )
    def mix(
        zeta: tf.Tensor, alpha: tf.Tensor, mid: tf.Tensor, flag: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        return {
            "z_sum": zeta + tf.cast(alpha, tf.float32),
            "a_count": tf.size(alpha, out_type=tf.int64),
            "message": tf.strings.join([mid, tf.strings.as_string(flag)], ":"),
            "flag": tf.logical_not(flag),
        }

    save(path, mix)
    return [
        Call(
            {
                "zeta": array([0.5, 1.5]),
                "alpha": array([10, 20], "int64"),
                "mid": strings(b"m\x00"),
                "flag": array(True, bool),
            }
        )
    ]


@model()
def wide_signature(path: str) -> list[Call]:
    """A hundred inputs and outputs, for the cost and the order of matching names."""
    names = [f"feature_{index}" for index in range(100)]

    @signature(**{name: ([None], tf.float32) for name in names})
    def wide(*features: tf.Tensor) -> dict[str, tf.Tensor]:
        return {f"out_{name}": features[i] * float(i) for i, name in enumerate(names)}

    save(path, wide)
    return [Call({name: array([i, 1.0]) for i, name in enumerate(names)})]


@model()
def unnamed_outputs(path: str) -> list[Call]:
    """A signature that returns a tuple, whose outputs TensorFlow names output_0, output_1..."""

    @signature(x=([None], tf.float32))
    def tuple_of(x: tf.Tensor):
        return x + 1.0, x * 2.0, tf.reduce_sum(x)

    save(path, tuple_of)
    return [Call({"x": array([1, 2, 3])})]


@model()
def passthrough_output(path: str) -> list[Call]:
    """Outputs that are inputs themselves: no kernel runs between the feed and the fetch."""

    @signature(x=(None, tf.float32), s=(None, tf.string), unused=([], tf.int32))
    def forward(x: tf.Tensor, s: tf.Tensor, unused: tf.Tensor) -> dict[str, tf.Tensor]:
        del unused
        return {"x": x, "s": s, "also_x": x, "y": x + 1.0}

    save(path, forward)
    return [
        Call({"x": array([[1, 2]]), "s": strings([b"a\x00", b""]), "unused": array(1, "int32")}),
        Call({"x": array(1), "s": strings(b"b"), "unused": array(1, "int32")}),
    ]


@model()
def same_tensor_twice(path: str) -> list[Call]:
    """Two names for one tensor: writing into one array must not change the other."""

    @signature(x=([None], tf.float32))
    def double(x: tf.Tensor) -> dict[str, tf.Tensor]:
        y = x * 2.0
        return {"first": y, "second": y, "reshaped": tf.reshape(y, [-1, 1])}

    save(path, double)
    return [Call({"x": array([1, 2])}), Call({"x": array([])})]


@model()
def no_inputs(path: str) -> list[Call]:
    """Signatures called with nothing: a constant, one of strings, and a computed value."""

    @tf.function(input_signature=[])
    def constant() -> dict[str, tf.Tensor]:
        return {"pi": tf.constant(3.14159), "names": tf.constant([["a", "b"], ["", "d\0"]])}

    @tf.function(input_signature=[])
    def computed() -> dict[str, tf.Tensor]:
        return {"squares": tf.square(tf.range(10)), "empty": tf.zeros([0, 3], tf.int8)}

    save(path, {"constant": constant, "computed": computed})
    return [Call({}, "constant"), Call({}, "computed"), Call({}, "constant")]


@model()
def shared_variables(path: str) -> list[Call]:
    """Encoder and decoder signatures over one weight: it must be restored once, not twice."""
    module = tf.Module()
    module.weight = tf.Variable(noise([3, 5], 1))

    @signature(x=([None, 3], tf.float32))
    def encode(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"code": x @ module.weight}

    @signature(code=([None, 5], tf.float32))
    def decode(code: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"x": tf.matmul(code, module.weight, transpose_b=True)}

    @signature(x=([None, 3], tf.float32))
    def both(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"x": decode(encode(x)["code"])["x"], "weight": module.weight + 0.0}

    save(path, {"encode": encode, "decode": decode, "serving_default": both}, module)
    return [
        Call({"x": noise([2, 3], 2)}, "encode"),
        Call({"code": noise([2, 5], 3)}, "decode"),
        Call({"x": noise([2, 3], 4)}),
    ]


@model(in_session=True)
def default_inputs(path: str) -> list[Call]:
    """`SignatureDef.defaults`: inputs that a caller may leave out."""

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.float32, name="x"),
            tf.TensorSpec([], tf.float32, name="scale"),
            tf.TensorSpec([None], tf.int64, name="shift"),
            tf.TensorSpec([], tf.string, name="unit"),
        ]
    )
    def scaled(
        x: tf.Tensor,
        scale: tf.Tensor = tf.constant(2.5),  # noqa: B008
        shift: tf.Tensor = tf.constant([1], tf.int64),  # noqa: B008
        unit: tf.Tensor = tf.constant(b"m\0"),  # noqa: B008
    ) -> dict[str, tf.Tensor]:
        return {"y": x * scale + tf.cast(shift, tf.float32), "unit": unit}

    save(path, scaled)
    x = array([1, 2])
    return [
        Call({"x": x}),
        Call({"x": x, "scale": array(10.0)}),
        Call({"x": x, "shift": array([3, 4], "int64"), "unit": strings(b"km")}),
        Call(
            {
                "x": x,
                "scale": array(0.0),
                "shift": array([0], "int64"),
                "unit": strings(b""),
            }
        ),
    ]


@model()
def odd_names(path: str) -> list[Call]:
    """Names that a method may use for its own arguments, and outputs of any name at all.

    TensorFlow refuses inputs "self" and "class" here and saves "x/y" as "x_y"; see tf1_odd_names.
    """
    names = ["inputs", "name", "args", "kwargs", "signature", "match", "x/y"]

    @tf.function(input_signature=[tf.TensorSpec([], tf.float32, name=name) for name in names])
    def add(*values: tf.Tensor) -> dict[str, tf.Tensor]:
        return {
            "class": tf.add_n(list(values)),
            "x/y": values[0] - values[1],
            "a b": values[2],
            "ünï": values[3],
            "": values[4] * 2.0,
            "return": values[5],
        }

    save(path, {"odd/signature key": add, "ключ": add})
    inputs = {name.replace("/", "_"): array(float(i)) for i, name in enumerate(names)}
    return [Call(inputs, "odd/signature key"), Call(inputs, "ключ")]
