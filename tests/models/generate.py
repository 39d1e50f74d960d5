"""Saves the test models and records what TensorFlow itself answers to each call.

    python tests/models/generate.py OUT_DIR [NAME ...]

For each model, OUT_DIR/NAME holds:

- saved_model/ as TensorFlow saved it.
- calls.pkl, a list of {"tags", "signature", "inputs", "outputs"} in the order of the calls, all
  made on one loaded instance. Strings are object arrays of bytes, the small floats and integers
  are ml_dtypes arrays, and the quantized dtypes are plain integers. A composite output `y` is
  recorded as its components, in the names TensorFlow's TF1 loader gives to those of an input:
  y_indices, y_values and y_dense_shape, or y_component_0...
- tf_specs.pkl, {signature: {"inputs": {name: (dtype, shape)}, "outputs": {...}}} of the first tag
  set that is called, where TensorFlow's eager loader was the one to answer. A shape is None where
  the rank is unknown.

OUT_DIR/guide and OUT_DIR/object_graphs hold the models of guide.py and object_graphs.py in the
same way, with steps.pkl (steps.py) in place of calls.pkl. They are made when no NAME is given.

OUT_DIR/complete is written last.
"""

from __future__ import annotations

import argparse
import os
import pickle
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from zoo import Call, Model

Specs = dict[str, dict[str, dict[str, tuple[str, list[int | None] | None]]]]
Answer = Callable[["Call"], dict[str, np.ndarray]]


def to_array(value: Any) -> np.ndarray:
    """An array also of what TensorFlow returns as a scalar."""
    return np.array(value, dtype=object) if isinstance(value, bytes) else np.asarray(value)


def to_tensor(value: np.ndarray, dtype: Any) -> Any:
    """A tensor of the dtype that the signature names."""
    import tensorflow as tf

    if dtype.is_quantized:
        return tf.bitcast(tf.constant(value), dtype)
    return tf.constant(value, dtype=dtype)


def components(structure: dict[str, Any]) -> dict[str, Any]:
    """Tensors or TensorSpecs by name, with the composite ones taken apart."""
    import tensorflow as tf

    flat = {}
    for name, value in structure.items():
        parts = tf.nest.flatten(value, expand_composites=True)
        if isinstance(value, tf.SparseTensor | tf.SparseTensorSpec):
            names = ["indices", "values", "dense_shape"]
        elif isinstance(value, tf.RaggedTensor | tf.RaggedTensorSpec):
            names = [f"component_{index}" for index in range(len(parts))]
        else:
            flat[name] = value
            continue
        flat.update({f"{name}_{key}": part for key, part in zip(names, parts, strict=True)})
    return flat


def describe(specs: Any) -> dict[str, tuple[str, list[int | None] | None]]:
    """The (dtype, shape) of each TensorSpec."""
    return {
        name: (spec.dtype.name, None if spec.shape.rank is None else spec.shape.as_list())
        for name, spec in components(specs).items()
    }


def load_eagerly(path: str, tags: tuple[str, ...]) -> tuple[Answer, Specs]:
    """The oracle: `tf.saved_model.load`."""
    import tensorflow as tf

    loaded = tf.saved_model.load(path, list(tags))

    def answer(call: Call) -> dict[str, np.ndarray]:
        function = loaded.signatures[call.signature]
        specs = function.structured_input_signature[1]
        inputs = {name: to_tensor(value, specs[name].dtype) for name, value in call.inputs.items()}
        outputs = components(function(**inputs))
        return {name: to_array(value.numpy()) for name, value in outputs.items()}

    specs = {
        key: {
            "inputs": describe(function.structured_input_signature[1]),
            "outputs": describe(function.structured_outputs),
        }
        for key, function in loaded.signatures.items()
    }
    return answer, specs


def load_in_session(path: str, tags: tuple[str, ...]) -> tuple[Answer, None]:
    """The oracle for calls that the eager loader has no way to make."""
    import tensorflow as tf

    v1 = tf.compat.v1
    running = v1.Session(graph=tf.Graph())
    with running.graph.as_default():
        meta_graph = v1.saved_model.load(running, list(tags), path)

    def answer(call: Call) -> dict[str, np.ndarray]:
        signature = meta_graph.signature_def[call.signature]
        feeds = {signature.inputs[name].name: value for name, value in call.inputs.items()}
        fetches = {name: info.name for name, info in signature.outputs.items()}
        return {name: to_array(value) for name, value in running.run(fetches, feeds).items()}

    return answer, None


def generate(model: Model, folder: Path) -> int:
    """Saves one model, makes its calls, and returns how many there were."""
    import keras

    # Before the builder runs at all: Keras layers draw their seeds as they are constructed, and a
    # model must not depend on which others were built before it.
    keras.utils.set_random_seed(7)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    path = str(folder / "saved_model")
    calls = model.build(path)
    load = load_in_session if model.in_session else load_eagerly
    instances: dict[frozenset[str], tuple[Answer, Specs | None]] = {}
    recorded = []
    for call in calls:
        key = frozenset(call.tags)
        if key not in instances:
            instances[key] = load(path, call.tags)
        recorded.append(
            {
                "tags": list(call.tags),
                "signature": call.signature,
                "inputs": dict(call.inputs),
                "outputs": instances[key][0](call),
            }
        )
    (folder / "calls.pkl").write_bytes(pickle.dumps(recorded))
    specs = next(iter(instances.values()))[1]
    if specs is not None:
        (folder / "tf_specs.pkl").write_bytes(pickle.dumps(specs))
    return len(recorded)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out_dir", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: every model")
    arguments = parser.parse_args()

    # TensorFlow reads these once, as it is imported.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
    import guide
    import object_graphs
    from zoo import MODELS

    unknown = [name for name in arguments.names if name not in MODELS]
    if unknown:
        parser.error(f"no such model: {', '.join(unknown)}")
    complete = arguments.out_dir / "complete"
    complete.unlink(missing_ok=True)
    for name in arguments.names or MODELS:
        start = time.monotonic()
        count = generate(MODELS[name], arguments.out_dir / name)
        print(f"{name}: {count} calls, {time.monotonic() - start:.1f} s", flush=True)
    if not arguments.names:
        guide.MODELS.record(arguments.out_dir / "guide")
        object_graphs.MODELS.record(arguments.out_dir / "object_graphs")
    complete.touch()


if __name__ == "__main__":
    main()
