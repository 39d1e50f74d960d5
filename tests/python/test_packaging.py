"""The package as its users install it: a wheel, built in isolation, in a clean environment."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from conftest import ROOT


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", folder, ROOT],
        check=True,
    )
    (built,) = folder.glob("*.whl")
    return built


def test_wheel_holds_what_it_should(wheel: Path) -> None:
    assert f"cp{sys.version_info.major}{sys.version_info.minor}" in wheel.name
    with zipfile.ZipFile(wheel) as file:
        names = set(file.namelist())
        (metadata,) = (name for name in names if name.endswith("METADATA"))
        text = file.read(metadata).decode()
    assert {
        "savedmodel/__init__.py",
        "savedmodel/py.typed",
        "savedmodel/_core.pyi",
        "savedmodel/lib/libsavedmodel.so",
        "savedmodel/lib/cmake/savedmodel/savedmodelConfig.cmake",
        "savedmodel/include/savedmodel/savedmodel.h",
        "savedmodel/include/savedmodel/version.h",
        "savedmodel/data/digits/saved_model.pb",
        "savedmodel/data/digits_test.npz",
    } <= names
    # No TensorFlow library, no test or benchmark, no cache.
    assert all(name.startswith(("savedmodel/", "savedmodel-")) for name in names)
    assert not [name for name in names if "tensorflow" in name and not name.endswith(".h")]
    assert not [name for name in names if "__pycache__" in name]
    assert "Provides-Extra: cpu" in text
    assert "Provides-Extra: gpu" in text
    assert wheel.stat().st_size < 3_000_000


def test_wheel_runs_in_another_environment(wheel: Path, tmp_path: Path) -> None:
    """With the README's own command; a clean interpreter, far from the sources."""
    environment = {
        key: value
        for key, value in os.environ.items()
        if key not in {"PYTHONPATH", "LD_LIBRARY_PATH", "VIRTUAL_ENV"}
    }
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"

    def run(*command: str | Path) -> str:
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run(python, "-m", "pip", "install", "--quiet", wheel)
    refused = run(
        python,
        "-c",
        "import savedmodel\ntry: savedmodel.load('x')\nexcept ImportError as e: print(e)",
    )
    assert 'pip install "savedmodel[cpu]"' in refused, "TensorFlow is not there yet"
    run(python, "-m", "pip", "install", "--quiet", f"{wheel}[cpu]")
    assert "355/360 (98.6%)" in run(tmp_path / "venv" / "bin" / "savedmodel", "demo")
