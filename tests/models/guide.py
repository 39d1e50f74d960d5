"""The models of TensorFlow's guide "Using the SavedModel format", and its loading steps.

https://www.tensorflow.org/guide/saved_model, with random weights where the guide downloads them.
generate.py saves the models and records the steps (steps.py).
"""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from steps import Recordings

MODELS = Recordings()


class CustomModule(tf.Module):
    """The guide's."""

    def __init__(self) -> None:
        super().__init__()
        self.v = tf.Variable(1.0)

    @tf.function
    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        return x * self.v

    @tf.function(input_signature=[tf.TensorSpec([], tf.float32)])
    def mutate(self, new_v: tf.Tensor) -> None:
        self.v.assign(new_v)


class CustomModuleWithOutputName(tf.Module):
    """The guide's."""

    def __init__(self) -> None:
        super().__init__()
        self.v = tf.Variable(1.0)

    @tf.function(input_signature=[tf.TensorSpec(None, tf.float32)])
    def __call__(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"custom_output_name": x * self.v}


def randomize(model: keras.Model) -> keras.Model:
    """Weights as training leaves them: with moving statistics that are not the initial ones."""
    random = np.random.default_rng(7)
    for variable in model.variables:
        if "gamma" in variable.path:
            variable.assign(random.uniform(0.5, 1.5, variable.shape))
        elif "beta" in variable.path or "bias" in variable.path:
            variable.assign(random.normal(0.0, 0.3, variable.shape))
    for layer in model.layers:
        layer.momentum = 0.2  # Read by batch normalization alone; three batches then suffice.
    for _ in range(3):
        model(random.uniform(-1, 1, (4, *model.input_shape[1:])), training=True)
    return model


IMAGE = "constant(np.random.default_rng(1).uniform(-1, 1, (2, 64, 64, 3)), 'float32')"


@MODELS.steps(
    "list(model.signatures)",
    "model.signatures['serving_default'].structured_outputs",
    f"model.signatures['serving_default']({IMAGE})",
    f"model.signatures['serving_default'](inputs={IMAGE})",
    "model.signatures['serving_default'](no_such_input=constant(1.0))",
    "variables(model)",
)
def mobilenet(path: str) -> None:
    """The guide's first model, smaller."""
    model = keras.applications.MobileNet(
        input_shape=(64, 64, 3), alpha=0.25, weights=None, classes=10
    )
    tf.saved_model.save(randomize(model), path)


@MODELS.steps(
    "list(model.signatures)",
    "model.signatures['serving_default'](constant([[1.0, -2.0, 0.5]]))",
    "model.signatures['serving_default'](constant(np.ones([5, 3]), 'float32'))",
    "variables(model)",
)
def sequential(path: str) -> None:
    """A Keras model without applications' own structure."""
    model = keras.Sequential(
        [
            keras.Input([3], name="features"),
            keras.layers.Dense(8, activation="relu", kernel_regularizer="l2"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(2, name="scores"),
        ]
    )
    tf.saved_model.save(randomize(model), path)


@MODELS.steps(
    "len(model.signatures)",
    "model.v",
    "model(constant(3.0))",
    "model.mutate(constant(2.0))",
    "model.v",
    "model(constant(3.0))",
    "assign(model.v, constant(-1.5))",
    "model(constant(3.0))",
    # The guide's: nothing was traced for a vector.
    "model(constant([3.0]))",
    "model(constant(3))",
    "model.mutate(constant([1.0, 2.0]))",
    "model.mutate()",
    "model.no_such_attribute",
    "variables(model)",
)
def module_no_signatures(path: str) -> None:
    """Traced by one call, saved without a signature."""
    module = CustomModule()
    module(tf.constant(0.0))
    tf.saved_model.save(module, path)


@MODELS.steps(
    "model(constant(2.0))",
    "gradients(model, [constant(2.0)], [model.v])",
    "gradients(model, [constant(2.0)], [model.v], constant(-3.0))",
    "fine_tune(model)",
    "model.v",
    "model(constant(2.0))",
)
def fine_tuned_module(path: str) -> None:
    """The guide trains its module to give 10 for 2."""
    module_no_signatures(path)


@MODELS.steps(
    "list(model.signatures)",
    "model.signatures['serving_default'].structured_input_signature",
    "model.signatures['serving_default'](x=constant([[1.0, 2.0], [3.0, 4.0]]))",
    "model.mutate(constant(0.5))",
    "model.signatures['serving_default'](x=constant(8.0))",
    "model(constant([4.0, 5.0]))",
)
def module_with_signature(path: str) -> None:
    """A signature made by get_concrete_function, for tensors of any shape."""
    module = CustomModule()
    call = module.__call__.get_concrete_function(tf.TensorSpec(None, tf.float32))
    tf.saved_model.save(module, path, signatures=call)


@MODELS.steps(
    "sorted(model.signatures)",
    "model.signatures['serving_default'](x=constant(3.0))",
    "model.signatures['array_input'](x=constant([3.0, 4.0]))",
    "model.mutate(constant(2.0))",
    "model.signatures['serving_default'](x=constant(3.0))",
    "model.signatures['array_input'](x=constant([3.0, 4.0]))",
    "model.signatures['no_such_signature']",
    # Both traces are there for calls, too; neither is for a matrix of integers.
    "model(constant(3.0))",
    "model(constant([3.0]))",
    "model(constant([[3]]))",
)
def module_multiple_signatures(path: str) -> None:
    """Two signatures of one module."""
    module = CustomModule()
    signatures = {
        "serving_default": module.__call__.get_concrete_function(tf.TensorSpec([], tf.float32)),
        "array_input": module.__call__.get_concrete_function(tf.TensorSpec([None], tf.float32)),
    }
    tf.saved_model.save(module, path, signatures=signatures)


@MODELS.steps(
    "model.signatures['serving_default'].structured_outputs",
    "model.signatures['serving_default'](x=constant(3.0))",
    "model(constant([[2.0]]))",
)
def module_output_name(path: str) -> None:
    """Outputs have the names of the dict that the function returns."""
    module = CustomModuleWithOutputName()
    call = module.__call__.get_concrete_function(tf.TensorSpec(None, tf.float32))
    tf.saved_model.save(module, path, signatures={"serving_default": call})


@MODELS.steps(
    # Polymorphism: a concrete function for each dtype, rank and Python value it was traced with.
    "len(model.f.concrete_functions)",
    "model.f(constant(3.0))",
    "model.f(constant(3))",
    "model.f(constant([3.0, 4.0]))",
    "model.f(constant([3.0, 4.0, 5.0]))",
    "model.f(constant(b'text'))",
    "model.f(x=constant(3.0))",
    # Python values choose the trace; defaults fill in what is left out.
    "model.g(constant([1.0, -1.0]), training=True)",
    "model.g(constant([1.0, -1.0]), training=False)",
    "model.g(constant([1.0, -1.0]))",
    "model.g(constant([1.0, -1.0]), True)",
    "model.g(x=constant([1.0, -1.0]), training=True, mode='shift')",
    "model.g(constant([1.0, -1.0]), mode='shift')",
    "model.g(constant([1.0, -1.0]), mode='no such mode')",
    "model.g(constant([1.0, -1.0]), training=None)",
    "model.g(constant([1.0, -1.0]), no_such_argument=1)",
    "model.g(training=True)",
)
def module_polymorphic(path: str) -> None:
    """Several concrete functions, chosen by tensors and by Python values."""
    module = tf.Module()
    module.v = tf.Variable(10.0)

    @tf.function
    def f(x: tf.Tensor) -> tf.Tensor:
        return x + x

    @tf.function
    def g(x: tf.Tensor, training: bool = False, mode: str = "scale") -> tf.Tensor:
        y = x + module.v if mode == "shift" else x * module.v
        return -y if training else y

    for spec in (
        tf.TensorSpec([], tf.float32),
        tf.TensorSpec([], tf.int32),
        tf.TensorSpec([2], tf.float32),
    ):
        f.get_concrete_function(spec)
    x = tf.TensorSpec([None], tf.float32)
    g.get_concrete_function(x, training=True)
    g.get_concrete_function(x, training=False)
    g.get_concrete_function(x, training=True, mode="shift")
    module.f, module.g = f, g
    tf.saved_model.save(module, path)
