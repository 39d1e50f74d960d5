"""Fixtures: the models that TensorFlow made, in a process of its own, and its answers."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import savedmodel

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT / "tests" / "models"
DIGITS = ROOT / "python" / "savedmodel" / "data" / "digits"


def generate_models(script: str, folder: Path) -> Path:
    """Runs a script of tests/models, with TensorFlow in a process of its own."""
    subprocess.run(
        [sys.executable, str(MODELS / script), str(folder)],
        check=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""},
        stdout=subprocess.DEVNULL,
    )
    return folder


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the models of tests/models/zoo, with TensorFlow's answers beside them.

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


def run_python(
    code: str, *arguments: str, timeout: float = 120
) -> subprocess.CompletedProcess[str]:
    """Runs code in a fresh interpreter, for what a crash or a hang would end."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
    )
