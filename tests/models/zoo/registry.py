"""The list of test models, and what a theme file needs to add one to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf


@dataclass(frozen=True)
class Call:
    """One call of a signature; the oracle fills in what TensorFlow answers."""

    inputs: Mapping[str, np.ndarray]
    signature: str = "serving_default"
    tags: tuple[str, ...] = ("serve",)


Builder = Callable[[str], Sequence[Call]]


@dataclass(frozen=True)
class Model:
    """A builder, and how TensorFlow has to be asked about what it saved.

    `in_session` asks a TF1 Session rather than `tf.saved_model.load`: needed where TensorFlow's
    eager loader cannot express the call, e.g. one that leaves out an input with a default.
    """

    name: str
    build: Builder
    in_session: bool = False


MODELS: dict[str, Model] = {}


def model(*, name: str | None = None, in_session: bool = False) -> Callable[[Builder], Builder]:
    """Registers a builder, under its function's name unless another is given."""

    def register(build: Builder) -> Builder:
        key = name or build.__name__
        if key in MODELS:
            raise ValueError(f"two models named {key!r}")
        MODELS[key] = Model(key, build, in_session)
        return build

    return register


def signature(**inputs: tf.TensorSpec | tuple[Any, Any]) -> Callable[[Callable], Any]:
    """A `tf.function` whose inputs are named here, each as (shape, dtype)."""
    specs = [
        spec if isinstance(spec, tf.TypeSpec) else tf.TensorSpec(spec[0], spec[1], name=name)
        for name, spec in inputs.items()
    ]
    return tf.function(input_signature=specs)


def save(
    path: str,
    signatures: Any,
    module: tf.Module | None = None,
    options: tf.saved_model.SaveOptions | None = None,
) -> None:
    """Saves in the TF2 form; `module` owns the variables, tables and assets."""
    root = tf.Module() if module is None else module
    tf.saved_model.save(root, path, signatures=signatures, options=options)


def strings(values: Any) -> np.ndarray:
    """A string tensor: an object array of bytes, which keeps trailing NULs."""
    return np.array(values, dtype=object)


def array(values: Any, dtype: Any = np.float32) -> np.ndarray:
    """An input tensor, float32 unless told otherwise."""
    return np.array(values, dtype=dtype)


def noise(shape: Sequence[int], seed: int = 0, dtype: Any = np.float32) -> np.ndarray:
    """Reproducible normal samples, for weights and inputs whose values do not matter."""
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)
