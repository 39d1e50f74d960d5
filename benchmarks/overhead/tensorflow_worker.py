"""TensorFlow's own Python in a process of its own, driven by lines of JSON on its pipes.

    python benchmarks/overhead/tensorflow_worker.py SAVED_MODEL INPUT.npy

Says the output's elements, [...], when it is ready. A line ["tensor", 50] then makes it call
the signature 50 times with a tensor that was made once; ["numpy", 50] does it from an array to an
array. It answers with the nanoseconds that the calls took together.
"""

from __future__ import annotations

import json
import os
import sys
import time
from itertools import repeat
from typing import Any

# What the libraries print must not come between the answers.
ANSWERS = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402


def answer(value: Any) -> None:
    print(json.dumps(value), file=ANSWERS, flush=True)


def main() -> None:
    model = tf.saved_model.load(sys.argv[1])
    signature = model.signatures["serving_default"]
    array = np.load(sys.argv[2])
    tensor = tf.constant(array)
    answer(signature(x=tensor)["y"].numpy().ravel().tolist())
    for line in sys.stdin:
        what, calls = json.loads(line)
        start = time.perf_counter_ns()
        if what == "tensor":
            for _ in repeat(None, calls):
                signature(x=tensor)
        else:
            for _ in repeat(None, calls):
                signature(x=tf.constant(array))["y"].numpy()
        answer(time.perf_counter_ns() - start)


if __name__ == "__main__":
    main()
