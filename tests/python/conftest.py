"""Fixtures: the models that TensorFlow made, in a process of its own, and its answers."""

from __future__ import annotations

import gc
import os
import pickle
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import savedmodel

# What a terminal, a CI service or a shell asks for must not change what is printed; the commands
# that this Python has installed are found whether or not its environment is activated.
for _name in (
    *("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE"),
    *("PYTHON_COLORS", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "PYTHONWARNINGS"),
    *("TF_CPP_MIN_LOG_LEVEL", "TF_CPP_MAX_VLOG_LEVEL", "TF_CPP_VMODULE"),
):
    os.environ.pop(_name, None)
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
MODELS = ROOT / "tests" / "models"
DIGITS = ROOT / "python" / "savedmodel" / "data" / "digits"
# CI runs the suite twice, the second time with the session for all calls. That leaves out what
# runs no model, or what it runs in the same way.
_WITHOUT_ENGINE = os.environ.get("SAVEDMODEL_ENGINE") == "session"
with_engine = pytest.mark.skipif(_WITHOUT_ENGINE, reason="the engine is switched off")
collect_ignore = [
    f"test_{name}.py"
    for name in (
        *("archive", "cmake_package", "examples", "inspect", "on_disk", "packaging", "stubs"),
        *("cli", "cli_doctor", "cli_expressions", "cli_guide", "cli_oracle", "cli_scan"),
        *("cli_show", "published_models"),
    )
    if _WITHOUT_ENGINE
]
_TENSORFLOW = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}


def generate_models(script: str, folder: Path) -> Path:
    """Runs a script of tests/models, with TensorFlow in a process of its own."""
    subprocess.run(
        [sys.executable, str(MODELS / script), str(folder)],
        check=True,
        env=_TENSORFLOW,
        stdout=subprocess.DEVNULL,
    )
    return folder


class TensorFlow:
    """TensorFlow in another process: tests/models/worker.py."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(MODELS / "worker.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_TENSORFLOW,
        )

    def _ask(self, function: str, *arguments: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(pickle.dumps((function, arguments)))
        self._process.stdin.flush()
        result, error = pickle.load(self._process.stdout)
        if error is not None:
            raise RuntimeError(f"TensorFlow's process: {error}")
        return result

    def evaluate(
        self, path: Path, steps: Sequence[str], names: dict[str, Any] | None = None
    ) -> list[Any]:
        """The outcomes of steps (tests/models/steps.py) on what TensorFlow loads from a path."""
        outcomes: list[Any] = self._ask("evaluate", str(path), list(steps), names or {})
        return outcomes

    def save(self, graph: Any, path: Path) -> None:
        """Saves a model described as in tests/models/random_graphs.py."""
        self._ask("save", graph, str(path))

    def save_network(self, network: Any, path: Path) -> None:
        """Saves a model described as in tests/models/random_layers.py."""
        self._ask("save_network", network, str(path))

    def saved_model_cli(self, *arguments: str) -> tuple[int, str]:
        """The exit status and the standard output of TensorFlow's own command."""
        answer: tuple[int, str] = self._ask("saved_model_cli", list(arguments))
        return answer

    def close(self) -> None:
        """Ends the process."""
        with self._process as process:
            assert process.stdin is not None
            process.stdin.close()


@pytest.fixture(scope="session")
def tensorflow() -> Iterator[TensorFlow]:
    """TensorFlow, for tests that need its answer to what they made themselves."""
    process = TensorFlow()
    yield process
    process.close()


@pytest.fixture(scope="session")
def tensorflow_command() -> Iterator[TensorFlow]:
    """TensorFlow in a process that answers nothing but command lines: each forks it."""
    process = TensorFlow()
    yield process
    process.close()


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the models that tests/models/generate.py makes, with TensorFlow's answers.

    SAVEDMODEL_TEST_MODELS names one that is there already.
    """
    ready = os.environ.get("SAVEDMODEL_TEST_MODELS")
    return (
        Path(ready) if ready else generate_models("generate.py", tmp_path_factory.mktemp("models"))
    )


@pytest.fixture(scope="session")
def broken_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the models of tests/models/broken.py."""
    return generate_models("broken.py", tmp_path_factory.mktemp("broken"))


@pytest.fixture(scope="session")
def dangerous_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the models of tests/models/dangerous.py."""
    return generate_models("dangerous.py", tmp_path_factory.mktemp("dangerous"))


@pytest.fixture
def load(models: Path) -> Iterator[Callable[..., savedmodel.Model]]:
    """Loads one of the generated models by name; closed after the test."""
    loaded: list[savedmodel.Model] = []

    def load_by_name(name: str, **options: Any) -> savedmodel.Model:
        loaded.append(savedmodel.load(models / name / "saved_model", **options))
        return loaded[-1]

    yield load_by_name
    for model in loaded:
        model.close()


@pytest.fixture
def calls(models: Path) -> Callable[[str], list[dict[str, Any]]]:
    """The recorded calls of a generated model, with TensorFlow's answers."""

    def of(name: str) -> list[dict[str, Any]]:
        recorded: list[dict[str, Any]] = pickle.loads((models / name / "calls.pkl").read_bytes())
        return recorded

    return of


@pytest.fixture(scope="session")
def digits() -> Iterator[savedmodel.Model]:
    """The digit classifier that ships with the package."""
    with savedmodel.load(DIGITS) as model:
        yield model


SOON = 300  # seconds after which a test has hung, on whatever machine and beside whatever else


def run_python(code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs code in a fresh interpreter, for what a crash or a hang would end."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=SOON,
        env={**os.environ, **environment},
    )


def assert_equal_to_tensorflow(actual: np.ndarray, expected: np.ndarray, what: str) -> None:
    """The same dtype, shape and values; floats to rounding, everything else exactly.

    Floats may differ in the last bits where Grappler fused other kernels in TensorFlow's
    function runtime than in a session (softmax after MatMul, on these models).
    """
    assert actual.dtype == expected.dtype, what
    assert actual.shape == expected.shape, what
    if expected.dtype == object:
        assert actual.tolist() == expected.tolist(), what
    elif expected.dtype.kind in "fc":
        scale = np.nanmax(np.abs(np.where(np.isfinite(expected), expected, 0)), initial=0)
        np.testing.assert_allclose(actual, expected, rtol=2e-6, atol=2e-6 * scale, err_msg=what)
    else:
        assert actual.tobytes() == expected.tobytes(), what


def run_example(script: str, *arguments: str) -> str:
    """What an example prints. It must not import TensorFlow's Python package."""
    command = [sys.executable, "-X", "importtime", str(EXAMPLES / script), *arguments]
    result = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    imported = re.findall(r"^import time: .*\|\s*(\S+)$", result.stderr, flags=re.MULTILINE)
    errors = re.sub(r"^import time: .*\n", "", result.stderr, flags=re.MULTILINE)
    assert result.returncode == 0, errors
    assert errors == ""
    assert "argparse" in imported
    assert [name for name in imported if name.split(".")[0] in ("keras", "tensorflow")] == []
    return result.stdout


class Copies:
    """The copies made inside a with block, by reason."""

    def __enter__(self) -> Copies:
        self._before = savedmodel.copy_stats().by_reason
        return self

    def __exit__(self, *_: object) -> None:
        after = savedmodel.copy_stats().by_reason
        self.by_reason = {
            reason: (after[reason][0] - count, after[reason][1] - size)
            for reason, (count, size) in self._before.items()
            if after[reason][0] != count
        }


def row(*values: float) -> np.ndarray:
    """One row of floats."""
    return np.array(values, np.float32)


def assert_memory_stays(use: Callable[[], object], *, rounds: int, warm_up: int, most: int) -> None:
    """Resident memory grows by less than `most` bytes over the rounds, after a warm-up.

    What leaks does so each time. The allocator, and the threads of TensorFlow, may take more once.
    """
    import psutil

    process = psutil.Process()
    for _ in range(warm_up):
        use()
    grown = []
    while not grown or grown[-1] >= most:
        assert len(grown) < 5, f"grew by {grown} bytes"
        gc.collect()
        before = process.memory_info().rss
        for _ in range(rounds):
            use()
        gc.collect()
        grown.append(process.memory_info().rss - before)


def wait_until(holds: Callable[[], bool]) -> None:
    """Return once it holds, which has to be soon."""
    end = time.monotonic() + SOON
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.001)
