"""Builds the C++ halves of the benchmarks; finds what is installed."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build" / "benchmarks"


def build(target: str, output: str) -> Path:
    """The path of that target's `output`, which uses TensorFlow alone.

    Built anew if its source is newer.
    """
    cmake = find_program("cmake")
    if cmake is None:
        sys.exit("the C++ half of this benchmark needs cmake: pip install cmake ninja")
    if not (BUILD / "CMakeCache.txt").exists():
        ninja = find_program("ninja")
        generator = ["-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}"] if ninja else []
        _run(
            [
                *(cmake, "-S", str(ROOT), "-B", str(BUILD), *generator),
                "-DCMAKE_BUILD_TYPE=Release",
                f"-DPython_EXECUTABLE={sys.executable}",
                "-DSAVEDMODEL_BUILD_PYTHON=OFF",
                "-DSAVEDMODEL_BUILD_BENCHMARKS=ON",
            ]
        )
    _run([cmake, "--build", str(BUILD), "--target", target])
    return BUILD / "benchmarks" / output


def build_with_installed(source: Path, folder: Path) -> Path:
    """Build a project of its own, with the library that this Python has installed; the folder."""
    cmake = find_program("cmake")
    if cmake is None:
        sys.exit("the C++ half of this benchmark needs cmake: pip install cmake")
    package = subprocess.run(
        [sys.executable, "-m", "savedmodel", "--cmake-dir"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    _run([cmake, "-S", str(source), "-B", str(folder), f"-Dsavedmodel_DIR={package}"])
    _run([cmake, "--build", str(folder)])
    return folder


def find_program(name: str) -> str | None:
    """Its path: beside this Python, or else where the shell would find it."""
    return shutil.which(name, path=Path(sys.executable).parent) or shutil.which(name)


def installed_command(name: str) -> str:
    """The path of a command that a package of this Python brought; ends the program without."""
    path = find_program(name)
    if path is None:
        sys.exit(f"{name} is not on the path: is its package installed?")
    return path


def _run(command: list[str]) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        sys.exit(f"{done.stdout}\nfailed: {' '.join(command)}")


def cc_library() -> Path:
    """`libtensorflow_cc` of the installed wheel, which is not imported."""
    spec = importlib.util.find_spec("tensorflow")
    if spec is None or not spec.submodule_search_locations:
        sys.exit("no TensorFlow wheel is installed for this Python")
    return Path(next(iter(spec.submodule_search_locations)), "libtensorflow_cc.so.2")
