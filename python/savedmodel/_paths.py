"""Where the C++ half of an installed package lies."""

from __future__ import annotations

import importlib.util
from pathlib import Path


def _package_root() -> Path:
    # The compiled module's folder: that of an editable install is not the sources'. Finding it
    # does not load it.
    spec = importlib.util.find_spec("savedmodel._core")
    if spec is None or spec.origin is None:
        raise ImportError("the compiled half of savedmodel is missing; reinstall the package")
    return Path(spec.origin).parent


def get_cmake_dir() -> str:
    """The folder with savedmodelConfig.cmake, for CMake's `savedmodel_DIR`."""
    return str(_package_root() / "lib" / "cmake" / "savedmodel")


def get_include_dir() -> str:
    """The folder with savedmodel/savedmodel.h."""
    return str(_package_root() / "include")
