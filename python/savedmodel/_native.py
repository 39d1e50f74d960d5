"""Loads TensorFlow's framework library, then the compiled half of the package.

Importing this module is what brings TensorFlow's library in (not its Python package);
`import savedmodel` alone does not. The large `libtensorflow_cc` comes with the first model
that needs it.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from savedmodel._paths import get_include_dir

_INSTALL_HELP = (
    "savedmodel needs the libraries of an installed TensorFlow {version} wheel, and {problem}.\n"
    "Install one of:\n"
    '    pip install "savedmodel[cpu]"    (tensorflow-cpu=={version})\n'
    '    pip install "savedmodel[gpu]"    (tensorflow=={version})'
)
_DISTRIBUTIONS = (
    "tensorflow-cpu",
    "tensorflow",
    "tensorflow-intel",
    "tensorflow-cpu-aws",
    "tensorflow-rocm",
    "tf-nightly-cpu",
    "tf-nightly",
)


_START_UP_LOG = re.compile(
    rb"WARNING: All log messages before absl::InitializeLog|[IWE]\d{4} .* port\.cc:\d+\]"
)


def _built_with() -> str:
    # From the installed header: _core itself cannot be asked before TensorFlow is loaded.
    header = Path(get_include_dir(), "savedmodel", "version.h").read_text()
    match = re.search(r'SAVEDMODEL_TENSORFLOW_VERSION_STRING "(.+)"', header)
    assert match is not None
    return match.group(1)


def _installed_version(package: Path) -> str | None:
    # By the name of the folder beside the package: importlib.metadata, which would read what lies
    # there, takes longer to import than the framework's library to load.
    for name in _DISTRIBUTIONS:
        for folder in package.parent.glob(f"{name.replace('-', '_')}-*.dist-info"):
            return folder.name.removesuffix(".dist-info").rpartition("-")[2]
    return None


@contextmanager
def _without_start_up_log() -> Iterator[None]:
    """Keeps what TensorFlow's library logs while it is being loaded off standard error.

    A static initialiser of the library logs a line about oneDNN before the library has read
    its log level, so no setting stops it. Standard error is caught for these milliseconds, and
    what is not TensorFlow's is passed on. Who sets TF_CPP_MIN_LOG_LEVEL=0 gets the line.
    """
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL") == "0" or not hasattr(os, "memfd_create"):
        yield
        return
    try:
        stderr = os.dup(2)
    except OSError:  # closed: nothing to keep clean
        yield
        return
    caught = os.memfd_create("savedmodel-stderr")
    os.dup2(caught, 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        with os.fdopen(caught, "rb") as file:
            file.seek(0)
            for line in file:
                if not _START_UP_LOG.match(line):
                    os.write(2, line)


def _load_framework() -> None:
    version = _built_with()
    spec = importlib.util.find_spec("tensorflow")
    if spec is None or not spec.submodule_search_locations:
        raise ImportError(
            _INSTALL_HELP.format(version=version, problem="none is installed"), name="tensorflow"
        )
    package = Path(next(iter(spec.submodule_search_locations)))
    installed = _installed_version(package)
    if installed is not None and installed != version:
        problem = f"the installed one is {installed}, whose C++ ABI is another"
        raise ImportError(
            _INSTALL_HELP.format(version=version, problem=problem)
            + f"\nor build savedmodel against TensorFlow {installed}: in its source folder, "
            "pip install --no-build-isolation .",
            name="tensorflow",
        )
    library = package / "libtensorflow_framework.so.2"
    try:
        # By absolute path, so that the library's name is taken when the extension asks for it.
        with _without_start_up_log():
            ctypes.CDLL(str(library))
    except OSError as error:
        raise ImportError(
            _INSTALL_HELP.format(version=version, problem=str(error)), name="tensorflow"
        ) from error


_load_framework()

from savedmodel._core import (  # noqa: E402
    TENSOR_ALIGNMENT,
    TENSORFLOW_VERSION,
    BatchedSignature,
    BoundCall,
    ConcreteFunction,
    DeviceAttributes,
    Function,
    Object,
    PreparedCall,
    RunMetadata,
    RunOptions,
    SavedModelBundle,
    Session,
    SessionCallable,
    SessionOptions,
    Signature,
    SignatureDef,
    SubmittedCall,
    Variable,
    aligned_allocator,
    aligned_empty,
    contains_saved_model,
    copy_counts,
    diagnose,
    inspect,
    load_saved_model,
    set_log_level,
    stop_completions,
    wait_for_completions,
)
from savedmodel._core import Model as NativeModel  # noqa: E402

__all__ = [
    "TENSORFLOW_VERSION",
    "TENSOR_ALIGNMENT",
    "BatchedSignature",
    "BoundCall",
    "ConcreteFunction",
    "DeviceAttributes",
    "Function",
    "NativeModel",
    "Object",
    "PreparedCall",
    "RunMetadata",
    "RunOptions",
    "SavedModelBundle",
    "Session",
    "SessionCallable",
    "SessionOptions",
    "Signature",
    "SignatureDef",
    "SubmittedCall",
    "Variable",
    "aligned_allocator",
    "aligned_empty",
    "contains_saved_model",
    "copy_counts",
    "diagnose",
    "inspect",
    "load_saved_model",
    "set_log_level",
    "stop_completions",
    "wait_for_completions",
]
