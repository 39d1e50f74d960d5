"""The C++ library as projects outside use it, and what its headers ask of them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest

import savedmodel

ROOT = Path(__file__).parents[2]
CONSUMERS = ROOT / "tests" / "cmake"
DIGITS = ROOT / "python" / "savedmodel" / "data" / "digits"
HEADERS = sorted((ROOT / "cpp" / "include" / "savedmodel").glob("*.h"))
INTEROP_HEADER = "tensorflow_interop.h"

needs_compiler = pytest.mark.skipif(
    shutil.which("cmake") is None or shutil.which("c++") is None, reason="needs cmake and c++"
)


def run(*command: str | Path, env: dict[str, str] | None = None) -> str:
    """Standard output; a failure reports both streams."""
    result = subprocess.run(
        command, capture_output=True, text=True, timeout=3600, check=False, env=env
    )
    if result.returncode != 0:
        pytest.fail(f"{command} exited with {result.returncode}:\n{result.stdout}{result.stderr}")
    return result.stdout


def configure(source: Path, build: Path, *options: str) -> None:
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    run("cmake", "-S", source, "-B", build, *generator, *options)


def build_consumer(name: str, folder: Path, *options: str) -> Path:
    """Builds a consumer, and copies its binary away from whatever it could find by accident."""
    build = folder / name
    configure(CONSUMERS / name, build, *options)
    run("cmake", "--build", build)
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    return Path(shutil.copy(build / name, elsewhere))


def printed(binary: Path) -> list[str]:
    """The lines that a consumer prints about the model that ships."""
    environment = {key: value for key, value in os.environ.items() if key != "LD_LIBRARY_PATH"}
    return run(binary, DIGITS, env=environment).splitlines()


def check_probabilities(printed: list[str], images: np.ndarray) -> None:
    """Printed numbers, against what the Python package answers."""
    with savedmodel.load(DIGITS) as model:
        expected = model.signatures["serving_default"](image=images)["probabilities"]
    numbers = np.array(printed, np.float32).reshape(-1, 10)
    np.testing.assert_allclose(numbers, expected, rtol=1e-5, atol=1e-7)


def check_consumer(binary: Path) -> None:
    heading, *numbers = printed(binary)
    assert heading == "probabilities float32 with shape (2, 10)"
    ramp = (np.arange(2 * 64) % 17 / 16).astype(np.float32).reshape(2, 8, 8, 1)
    check_probabilities(numbers, ramp)


def package_dir() -> str:
    return "-Dsavedmodel_DIR=" + run(sys.executable, "-m", "savedmodel", "--cmake-dir").strip()


@needs_compiler
def test_consumer_of_the_python_package(tmp_path: Path) -> None:
    check_consumer(build_consumer("consumer", tmp_path, package_dir()))


@needs_compiler
def test_consumer_of_an_installed_prefix(tmp_path: Path) -> None:
    # Not in tmp_path: it is kept, so that the next run builds only what has changed.
    build, prefix = ROOT / "build" / "package", tmp_path / "prefix"
    # By the name that the extension was built with: ccache takes another for another compiler.
    compiler = str(sysconfig.get_config_var("CXX")).split()[0]
    configure(
        ROOT,
        build,
        f"-DPython_EXECUTABLE={sys.executable}",
        f"-DCMAKE_CXX_COMPILER={compiler}",
        "-DSAVEDMODEL_BUILD_PYTHON=OFF",
    )
    run("cmake", "--build", build, "--target", "savedmodel")
    run("cmake", "--install", build, "--component", "savedmodel", "--prefix", prefix)
    check_consumer(build_consumer("consumer", tmp_path, f"-DCMAKE_PREFIX_PATH={prefix}"))


@needs_compiler
def test_consumer_of_tensorflows_own_objects(tmp_path: Path) -> None:
    binary = build_consumer("interop_consumer", tmp_path, package_dir())
    nodes, shape, *numbers = printed(binary)
    assert re.fullmatch(r"[1-9]\d* nodes", nodes)
    assert shape == "float32 with shape (1, 10)"
    check_probabilities(numbers, np.ones((1, 8, 8, 1), np.float32))


@pytest.fixture(scope="module")
def version_header(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An include folder with the one header that CMake writes."""
    folder = tmp_path_factory.mktemp("include")
    (folder / "savedmodel").mkdir()
    template = ROOT / "cpp" / "include" / "savedmodel" / "version.h.in"
    text = re.sub(r"@\w+@", "0.0.0", template.read_text())
    (folder / "savedmodel" / "version.h").write_text(text)
    return folder


@needs_compiler
@pytest.mark.parametrize("header", HEADERS, ids=lambda path: path.name)
def test_header_stands_alone(header: Path, version_header: Path, tmp_path: Path) -> None:
    if header.name == INTEROP_HEADER:
        pytest.skip("the one header that includes TensorFlow's")
    source = tmp_path / "header.cc"
    # Twice, for the include guard.
    source.write_text(f'#include "savedmodel/{header.name}"\n' * 2)
    run(
        *("c++", "-std=c++17", "-fsyntax-only", "-Wall", "-Wextra", "-Werror"),
        *(f"-I{ROOT / 'cpp' / 'include'}", f"-I{version_header}"),
        source,
    )


def includes(path: Path) -> list[str]:
    return re.findall(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', path.read_text(), re.MULTILINE)


def test_only_the_interop_header_includes_tensorflow() -> None:
    foreign = re.compile(r"(tensorflow|tsl|xla|absl|google|Eigen|unsupported)/")
    with_tensorflow = {
        header.name for header in HEADERS if any(foreign.match(name) for name in includes(header))
    }
    assert with_tensorflow == {INTEROP_HEADER}
    assert f"savedmodel/{INTEROP_HEADER}" not in includes(HEADERS[0].parent / "savedmodel.h")


def test_the_library_includes_no_python() -> None:
    sources = [path for path in (ROOT / "cpp").rglob("*") if path.suffix in (".h", ".cc")]
    assert len(sources) > 20
    python = re.compile(r"Python\.h|pybind11/|numpy/")
    assert not [path for path in sources if any(python.match(name) for name in includes(path))]
