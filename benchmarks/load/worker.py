"""Loads a model, calls it once, and prints the times and the memory of its process as JSON.

    python -m benchmarks.load.worker RUNTIME EXPORT_DIR INPUT OUTPUT THREADS DIMENSION...

RUNTIME: savedmodel or tensorflow. Feeds the float32 elements of the file INPUT to
`serving_default`, which has one input and one output, and writes that output's to OUTPUT. The JSON:

    answered         when the answer was there, by time.monotonic(), which is the machine's
    library          seconds in which TensorFlow's own library was loaded, no part of the next
    load, call       seconds of loading the model, and of its first call
    VmRSS, VmHWM     bytes resident then, and at most until then
    phases           savedmodel's own report: name -> [seconds, bytes read]
    bytes_saved      bytes of variables that it did not read, where it tells
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np

from benchmarks.memory import memory


def run_savedmodel(path: str, array: Any, threads: int) -> tuple[Any, dict[str, Any], Any]:
    """The output, what to print of it, and what must live on."""
    import savedmodel

    load = savedmodel.load  # imports the extension
    options = savedmodel.SessionOptions(
        intra_op_parallelism_threads=threads, inter_op_parallelism_threads=threads
    )
    start = time.monotonic()
    model = load(path, session_options=options)
    loaded = time.monotonic()
    (output,) = model.signatures["serving_default"](array).values()
    answered = time.monotonic()

    assert "tensorflow" not in sys.modules
    report = model.load_report
    phases = dict(report)
    library = phases.pop("library").seconds
    found = {
        "answered": answered,
        "library": library,
        "load": loaded - start - library,
        "call": answered - loaded,
        "phases": phases,
        "bytes_saved": getattr(report, "bytes_saved", None),
    }
    return output, found, model


def run_tensorflow(path: str, array: Any, threads: int) -> tuple[Any, dict[str, Any], Any]:
    """The same by TensorFlow's own Python."""
    start = time.monotonic()
    import tensorflow as tf

    imported = time.monotonic()
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    set_up = time.monotonic()
    model = tf.saved_model.load(path)
    loaded = time.monotonic()
    signature = model.signatures["serving_default"]
    (name,) = signature.structured_input_signature[1]
    (output,) = signature(**{name: tf.constant(array)}).values()
    output = output.numpy()
    answered = time.monotonic()
    found = {
        "answered": answered,
        "library": imported - start,
        "load": loaded - set_up,
        "call": answered - loaded,
    }
    return output, found, model


def main() -> None:
    """See the module."""
    runtime, export_dir, source, destination, threads, *shape = sys.argv[1:]
    run = {"savedmodel": run_savedmodel, "tensorflow": run_tensorflow}[runtime]
    array = np.fromfile(source, np.float32).reshape([int(size) for size in shape])
    output, found, _kept = run(export_dir, array, int(threads))
    found |= memory()
    output.tofile(Path(destination))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
