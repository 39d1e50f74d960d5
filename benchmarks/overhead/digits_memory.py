"""Loads the digit model, calls it ten times, and prints the memory of its process as JSON.

    python -m benchmarks.overhead.digits_memory savedmodel|tensorflow SAVED_MODEL

{"VmRSS": bytes, "VmHWM": bytes, "Pss": bytes}; without those that the kernel does not tell.
"""

from __future__ import annotations

import json
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np

from benchmarks.memory import memory

CALLS = 10


def run_savedmodel(path: str) -> object:
    import savedmodel

    model = savedmodel.load(path)
    image = savedmodel.aligned_empty((1, 8, 8, 1), np.float32)
    image[...] = 0.5
    for _ in range(CALLS):
        model.signatures["serving_default"](image=image)
    assert "tensorflow" not in sys.modules
    return model


def run_tensorflow(path: str) -> object:
    import tensorflow as tf

    model = tf.saved_model.load(path)
    image = tf.constant(np.full((1, 8, 8, 1), 0.5, np.float32))
    for _ in range(CALLS):
        model.signatures["serving_default"](image=image)
    return model


if __name__ == "__main__":
    run = {"savedmodel": run_savedmodel, "tensorflow": run_tensorflow}[sys.argv[1]]
    kept = run(sys.argv[2])
    print(json.dumps(memory()))
