"""TensorFlow in a process of its own, for tests that ask it things as they go.

    python tests/models/worker.py

Requests come pickled on standard input, as (function, arguments), and are answered in order on
standard output by (result, None), or by (None, traceback) of an exception. It ends with its input.
"""

from __future__ import annotations

import os
import pickle
import sys
import traceback
from typing import Any

import random_graphs
import random_layers
from command import saved_model_cli
from steps import evaluate, tensorflow_names


def load_and_evaluate(path: str, steps: list[str], names: dict[str, Any]) -> list[Any]:
    """The outcomes of steps on what `tf.saved_model.load` makes of a path."""
    import tensorflow as tf

    return evaluate(steps, tensorflow_names(tf.saved_model.load(path)) | names)


FUNCTIONS = {
    "evaluate": load_and_evaluate,
    "save": random_graphs.save,
    "save_network": random_layers.save,
    "saved_model_cli": saved_model_cli,
}


def main() -> None:
    # What TensorFlow and Keras print must not end up among the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    while True:
        try:
            function, arguments = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            answer = (FUNCTIONS[function](*arguments), None)
        except Exception:
            answer = (None, traceback.format_exc())
        answers.write(pickle.dumps(answer))
        answers.flush()


if __name__ == "__main__":
    main()
