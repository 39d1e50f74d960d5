"""Steps: expressions that TensorFlow and savedmodel both evaluate on a model they loaded.

`"model.mutate(constant(3.0))"` is a step. TensorFlow's answers are recorded, by `record`, or asked
for as a test runs (worker.py); the test evaluates the same steps on a `savedmodel.Model`. Each
side gives the steps these names:

- `model`, the loaded model; `np` and `Pair`;
- `constant(value, dtype=None)`, `sparse(indices, values, shape)` and `ragged(values, row_splits)`,
  which make what the side takes as a tensor;
- `assign(variable, value)`, which gives the variable;
- `call(function, (args, kwargs))`, whose arrays are made tensors first;
- `gradients(function, inputs, variables, output_gradients=None)`;
- `fine_tune(model)`: the training loop of TensorFlow's SavedModel guide, as (loss, v) of each step;
- `variables(model)`: (name, trainable, value) of every variable, sorted, equal ones once.

This module imports neither of the two sides until it is asked to.
"""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


class Pair(NamedTuple):
    """A namedtuple for functions to take and to return."""

    first: Any
    second: Any


class Raised(NamedTuple):
    """The outcome of a step that ended in an exception."""

    types: tuple[str, ...]  # The exception's class and its bases.
    message: str


class Named(NamedTuple):
    """A namedtuple, and a sparse or ragged value, whose own class the other side lacks."""

    fields: tuple[str, ...]
    values: tuple[Any, ...]


class Spec(NamedTuple):
    """A TensorSpec of either side."""

    name: str | None
    dtype: str
    shape: tuple[int | None, ...] | None


def plain(value: Any) -> Any:
    """What a step gave, in types that both sides have: arrays for tensors and variables."""
    if isinstance(value, np.ndarray | np.generic | bytes):
        return np.array(value, dtype=object) if isinstance(value, bytes) else np.asarray(value)
    # After NumPy's scalars: np.float64 is a float.
    if value is None or isinstance(value, bool | int | float | str):
        return value
    kind = type(value).__name__
    if kind == "SparseTensor":
        fields = ("indices", "values", "dense_shape")
        return Named(fields, tuple(plain(getattr(value, field)) for field in fields))
    if kind == "RaggedTensor":
        fields = ("values", "row_splits")
        return Named(fields, tuple(plain(getattr(value, field)) for field in fields))
    if kind == "TensorSpec":
        dtype = "string" if value.dtype == object else value.dtype.name
        shape = getattr(value.shape, "rank", value.shape)
        return Spec(value.name, dtype, None if shape is None else tuple(value.shape))
    if hasattr(value, "numpy"):
        return plain(value.numpy())
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return Named(tuple(value._fields), tuple(plain(item) for item in value))
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return set(value)
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, tuple):
        return tuple(plain(item) for item in value)
    raise AssertionError(f"a step must give values, not a {type(value)}")


def listed(variables: Iterable[Any]) -> list[tuple[str, bool, np.ndarray]]:
    """The variables of a model, whichever way it holds them, so that lists can be compared."""
    values = [(v.name.removesuffix(":0"), v.trainable, plain(v)) for v in variables]
    unique = {(name, trainable, repr(value.tolist())): value for name, trainable, value in values}
    return [
        (name, trainable, unique[name, trainable, key]) for name, trainable, key in sorted(unique)
    ]


def assign(variable: Any, value: Any) -> Any:
    """Assigns, and gives the variable."""
    variable.assign(value)
    return variable


def evaluate(steps: Sequence[str], names: dict[str, Any]) -> list[Any]:
    """The outcome of each step, in order; the names are those above."""
    outcomes = []
    for step in steps:
        try:
            value = eval(step, {"np": np, "Pair": Pair, **names})
        except Exception as error:
            types = tuple(base.__name__ for base in type(error).__mro__)
            outcomes.append(Raised(types, str(error)))
        else:
            outcomes.append(plain(value))
    return outcomes


def tensorflow_names(model: Any) -> dict[str, Any]:
    """The names of the steps, on TensorFlow's side."""
    import tensorflow as tf

    def constant(value: Any, dtype: str | None = None) -> Any:
        return tf.constant(value, dtype and tf.as_dtype(dtype))

    def sparse(indices: Any, values: Any, shape: Any) -> Any:
        return tf.SparseTensor(np.array(indices, np.int64), constant(values), shape)

    def ragged(values: Any, row_splits: Any) -> Any:
        return tf.RaggedTensor.from_row_splits(constant(values), np.array(row_splits, np.int64))

    def call(function: Callable[..., Any], arguments: tuple[Any, Any]) -> Any:
        args, kwargs = tf.nest.map_structure(
            lambda leaf: tf.constant(leaf) if isinstance(leaf, np.ndarray) else leaf, arguments
        )
        return function(*args, **kwargs)

    def gradients(
        function: Callable[..., Any],
        inputs: Sequence[Any],
        variables: Sequence[Any],
        output_gradients: Any = None,
    ) -> list[Any]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            for variable in variables:
                tape.watch(variable)
            outputs = function(*inputs)
        result = tape.gradient(outputs, list(variables), output_gradients)
        return [tf.convert_to_tensor(gradient) for gradient in result]

    def fine_tune(model: Any) -> list[Any]:
        optimizer = tf.keras.optimizers.SGD(0.05)
        history = []
        for _ in range(10):
            with tf.GradientTape() as tape:
                loss = (10.0 - model(tf.constant(2.0))) ** 2
            watched = tape.watched_variables()
            optimizer.apply_gradients(zip(tape.gradient(loss, watched), watched, strict=True))
            history.append((loss, model.v.numpy()))
        return history

    def variables(model: Any) -> dict[str, Any]:
        found = tf.train.TrackableView(model).descendants()
        return listed(variable for variable in found if isinstance(variable, tf.Variable))

    return {
        "model": model,
        "constant": constant,
        "sparse": sparse,
        "ragged": ragged,
        "assign": assign,
        "call": call,
        "gradients": gradients,
        "fine_tune": fine_tune,
        "variables": variables,
    }


def savedmodel_names(model: Any) -> dict[str, Any]:
    """The names of the steps, on this package's side."""
    import savedmodel

    def constant(value: Any, dtype: str | None = None) -> np.ndarray:
        array = np.asarray(value, dtype)
        if array.dtype.kind == "S":
            return np.array(value, object)  # NumPy's own strings drop a NUL at their end.
        if dtype is None:
            narrow = {"f": np.float32, "i": np.int32}
            array = array.astype(narrow.get(array.dtype.kind, array.dtype))
        return array

    def sparse(indices: Any, values: Any, shape: Any) -> Any:
        return savedmodel.SparseTensorValue(
            np.array(indices, np.int64), constant(values), np.array(shape, np.int64)
        )

    def ragged(values: Any, row_splits: Any) -> Any:
        return savedmodel.RaggedTensorValue(constant(values), np.array(row_splits, np.int64))

    def call(function: Callable[..., Any], arguments: tuple[Any, Any]) -> Any:
        args, kwargs = arguments
        return function(*args, **kwargs)

    def fine_tune(model: Any) -> list[Any]:
        history = []
        for _ in range(10):
            y = model(np.float32(2.0))
            (gradient,) = savedmodel.gradients(model, [np.float32(2.0)], [model.v], -2 * (10 - y))
            model.v.assign(model.v.numpy() - np.float32(0.05) * gradient)
            history.append(((10 - y) ** 2, np.array(model.v.numpy())))
        return history

    return {
        "model": model,
        "constant": constant,
        "sparse": sparse,
        "ragged": ragged,
        "assign": assign,
        "call": call,
        "gradients": savedmodel.gradients,
        "fine_tune": fine_tune,
        "variables": lambda model: listed(model.variables),
    }


@dataclass(frozen=True)
class Recording:
    """A model that TensorFlow saves, and the steps to take on it."""

    save: Callable[[str], None]
    steps: tuple[str, ...]


class Recordings(dict[str, Recording]):
    """The models of a file, by name."""

    def steps(self, *steps: str) -> Callable[[Callable[[str], None]], Callable[[str], None]]:
        """Registers a function that saves a model to the path it is given, and its steps."""

        def register(save: Callable[[str], None]) -> Callable[[str], None]:
            if save.__name__ in self:
                raise ValueError(f"two models named {save.__name__!r}")
            self[save.__name__] = Recording(save, steps)
            return save

        return register

    def record(self, out_dir: Path) -> None:
        """Makes OUT_DIR/NAME/saved_model and steps.pkl, a list of (step, TensorFlow's outcome)."""
        import keras
        import tensorflow as tf

        for name, recording in self.items():
            keras.utils.set_random_seed(7)
            folder = out_dir / name
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            path = str(folder / "saved_model")
            recording.save(path)
            outcomes = evaluate(recording.steps, tensorflow_names(tf.saved_model.load(path)))
            taken = list(zip(recording.steps, outcomes, strict=True))
            (folder / "steps.pkl").write_bytes(pickle.dumps(taken))
