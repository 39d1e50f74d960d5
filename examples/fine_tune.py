"""Fine-tune a SavedModel without TensorFlow's Python package, and save the result.

    python examples/fine_tune.py [--output DIR]

The module is the one of TensorFlow's SavedModel guide: it multiplies its input by a variable `v`,
which is 1. Gradient descent makes it answer 10 for 2, so that `v` approaches 5. TensorFlow writes
the module first (guide_module.py), in a process of its own; all the rest is `savedmodel` and NumPy.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import savedmodel
from fetch_models import cache_dir

X = np.float32(2)
TARGET = np.float32(10)
LEARNING_RATE = np.float32(0.05)
STEPS = 10


def write_module(path: Path) -> None:
    """Have TensorFlow write the guide's module to `path`."""
    script = Path(__file__).with_name("guide_module.py")
    command = [sys.executable, str(script), str(path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        sys.exit(f"{script.name} failed:\n{result.stderr}")


def fine_tune(model: savedmodel.Model) -> None:
    """Minimise (TARGET - model(X))**2 by plain gradient descent, and print each step."""
    print("step       v    model(2)      loss   dloss/dv")
    for step in range(1, STEPS + 1):
        v = model.v.numpy()
        y = model(X)
        loss = (TARGET - y) ** 2
        # The chain rule: the gradient of the loss by the output, which is ours, goes in.
        (gradient,) = savedmodel.gradients(model, [X], [model.v], -2 * (TARGET - y))
        print(f"{step:4}  {v:6.4f}  {y:10.4f}  {loss:8.4f}  {gradient:9.4f}")
        model.v.assign(v - LEARNING_RATE * gradient)


def main() -> None:
    """Train, save, load again, and show what both models answer."""
    parser = argparse.ArgumentParser(description="Fine-tune the module of the SavedModel guide.")
    parser.add_argument(
        "--output",
        type=Path,
        default=cache_dir() / "fine_tuned",
        metavar="DIR",
        help="where the result is saved; a SavedModel there is replaced (default: %(default)s)",
    )
    output: Path = parser.parse_args().output
    with tempfile.TemporaryDirectory() as folder:
        original = Path(folder) / "module"
        write_module(original)
        with savedmodel.load(original) as model:
            print(f"before: model(2) = {model(X):.4f}\n")
            fine_tune(model)
            model.save(output)
    with savedmodel.load(output) as model:
        print(f"\nsaved to {output}\nloaded: model(2) = {model(X):.4f}, v = {model.v.numpy():.4f}")


if __name__ == "__main__":
    main()
