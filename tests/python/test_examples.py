"""The examples that fetch nothing. Those that do are in test_published_models.py."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from conftest import TensorFlow, run_example


def test_fine_tune(tensorflow: TensorFlow, tmp_path: Path) -> None:
    """The guide's training, step by step as TensorFlow does it; what it saves, TensorFlow loads."""
    output = tmp_path / "fine tuned"
    printed = run_example("fine_tune.py", "--output", str(output))
    rows = re.findall(r"^ *\d+ +(\S+) +(\S+) +(\S+) +(\S+)$", printed, flags=re.MULTILINE)
    assert len(rows) == 10
    v = np.float32(1.0)
    for row in rows:
        error = 10 - 2 * v
        np.testing.assert_allclose(
            [float(value) for value in row], [v, 2 * v, error**2, -4 * error], atol=1e-4
        )
        v += np.float32(0.05) * 4 * error
    (answer,) = tensorflow.evaluate(output, ["model(constant(2.0))"])
    np.testing.assert_allclose(answer, 2 * v, rtol=1e-6)
    assert f"loaded: model(2) = {answer:.4f}, v = {answer / 2:.4f}" in printed

    # Where it was saved before, it is saved again.
    assert run_example("fine_tune.py", "--output", str(output)) == printed
