"""Records what TensorFlow itself answers for the two published models of the examples.

    python tests/models/published.py OUT_DIR

For each model, OUT_DIR/NAME.pkl holds {"path", "calls"}: the SavedModel directory, and a list of
{"tags", "signature", "inputs", "outputs"}, all made in one session. Strings are object arrays of
bytes. The models are those of examples/fetch_models.py, which fetches them if need be.

The TF1 loader answers: today's `tf.saved_model.load` does not load basic-pitch's model, because it
cannot rebuild the slot variables of the optimizer that were saved along with it.
"""

from __future__ import annotations

import argparse
import os
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Inputs = dict[str, Array]

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
TAGS = ["serve"]

SAMPLE_RATE = 22050
WINDOW = 43844  # Samples that basic-pitch takes at once.


def tone(key: int, start: float) -> npt.NDArray[np.float64]:
    """A window in which that MIDI key is struck at `start` seconds, and fades."""
    t = np.maximum(np.arange(WINDOW) / SAMPLE_RATE - start, 0.0)
    frequency = 440.0 * 2.0 ** ((key - 69) / 12)
    harmonics = [np.sin(2 * np.pi * k * frequency * t) / k**2 for k in range(1, 7)]
    sound: npt.NDArray[np.float64] = np.exp(-2.0 * t) * np.sum(harmonics, axis=0)
    return sound


def audio_windows() -> list[Inputs]:
    """Two batches of windows: a chord; a scale, the same in noise, and silence."""
    chord = 0.2 * sum(tone(key, 0.3) for key in (48, 60, 64, 67))
    scale = 0.3 * sum(tone(key, 0.2 * step) for step, key in enumerate((60, 62, 64, 65, 67)))
    noise = np.random.default_rng(22050).normal(0.0, 0.1, WINDOW)
    windows = [scale, scale + noise, np.zeros(WINDOW)]
    return [
        {"input_2": np.stack(batch)[..., np.newaxis].astype(np.float32)}
        for batch in ([chord], windows)
    ]


def texts(name: str) -> list[Inputs]:
    """Batches of texts for the string input of that name."""
    python = b"import sys\n\ndef main() -> None:\n    print(sys.argv)\n"
    cpp = b"#include <vector>\n\nint main() {\n  std::vector<int> v(3);\n  return v[0];\n}\n"
    sql = b"SELECT name, COUNT(*) FROM users WHERE age > 30 GROUP BY name;\n"
    not_utf8 = bytes(range(256))
    # The model looks at the first 10000 pairs of bytes.
    long = python * 1000
    batches = [[python], [b""], [not_utf8], [python, cpp, sql, b"", not_utf8, b"x", long]]
    return [{name: np.array(batch, dtype=object)} for batch in batches]


CALLS: dict[str, dict[str, list[Inputs]]] = {
    "basic-pitch": {"serving_default": audio_windows()},
    "guesslang": {
        "classification": texts("inputs"),
        "predict": texts("content"),
        "serving_default": texts("inputs"),
    },
}


def answers(path: Path, inputs_of: dict[str, list[Inputs]]) -> list[dict[str, Any]]:
    """The calls with what TensorFlow answers. Every signature of the model must be called."""
    import tensorflow as tf

    calls = []
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        meta_graph = tf.compat.v1.saved_model.load(session, TAGS, str(path))
        signatures = {
            name: signature
            for name, signature in meta_graph.signature_def.items()
            if name != "__saved_model_init_op"
        }
        if set(signatures) != set(inputs_of):
            raise ValueError(f"{path}: signatures are {sorted(signatures)}")
        for name, signature in signatures.items():
            fetches = {key: info.name for key, info in signature.outputs.items()}
            for inputs in inputs_of[name]:
                feeds = {signature.inputs[key].name: value for key, value in inputs.items()}
                outputs = session.run(fetches, feeds)
                calls.append(
                    {"tags": TAGS, "signature": name, "inputs": inputs, "outputs": outputs}
                )
    return calls


def main() -> None:
    """Record the answers of both models."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("out", type=Path, metavar="OUT_DIR")
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

    sys.path.insert(0, str(EXAMPLES))
    from fetch_models import fetch

    for name, inputs_of in CALLS.items():
        path = fetch(name)
        record = {"path": str(path), "calls": answers(path, inputs_of)}
        (out / f"{name}.pkl").write_bytes(pickle.dumps(record))


if __name__ == "__main__":
    main()
