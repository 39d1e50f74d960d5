"""Load and run TensorFlow SavedModels natively, without TensorFlow's Python package.

    import savedmodel

    model = savedmodel.load("path/to/saved_model")
    outputs = model.signatures["serving_default"](x=array)

Importing this package loads nothing of TensorFlow; the first use of a name below does.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from savedmodel._paths import get_cmake_dir, get_include_dir
from savedmodel._version import __version__
from savedmodel.errors import (
    AbortedError,
    AlreadyExistsError,
    CancelledError,
    DataLossError,
    DeadlineExceededError,
    ErrorCode,
    FailedPreconditionError,
    InternalError,
    InvalidArgumentError,
    NotFoundError,
    OutOfRangeError,
    PermissionDeniedError,
    ResourceExhaustedError,
    SavedModelError,
    UnauthenticatedError,
    UnavailableError,
    UnimplementedError,
    UnknownError,
    UnknownSignatureError,
)
from savedmodel.specs import (
    BatchStats,
    CopyStats,
    Fingerprint,
    LoadPhase,
    LoadReport,
    OptimizeReport,
    RaggedTensorValue,
    Runner,
    SparseTensorValue,
    TensorSpec,
)

if TYPE_CHECKING:
    from savedmodel._native import (
        BatchedSignature,
        BoundCall,
        ConcreteFunction,
        DeviceAttributes,
        Function,
        RunMetadata,
        RunOptions,
        SavedModelBundle,
        Session,
        SessionCallable,
        SessionOptions,
        Signature,
        SignatureDef,
        Variable,
        aligned_allocator,
        aligned_empty,
        contains_saved_model,
        load_saved_model,
    )
    from savedmodel.diagnosis import Diagnosis, diagnose
    from savedmodel.inspection import Inspection, inspect
    from savedmodel.model import Model, Signatures, copy_stats, load, set_log_level
    from savedmodel.object_graph import Asset, TrackableObject, gradients

__all__ = [
    "AbortedError",
    "AlreadyExistsError",
    "Asset",
    "BatchStats",
    "BatchedSignature",
    "BoundCall",
    "CancelledError",
    "ConcreteFunction",
    "CopyStats",
    "DataLossError",
    "DeadlineExceededError",
    "DeviceAttributes",
    "Diagnosis",
    "ErrorCode",
    "FailedPreconditionError",
    "Fingerprint",
    "Function",
    "Inspection",
    "InternalError",
    "InvalidArgumentError",
    "LoadPhase",
    "LoadReport",
    "Model",
    "NotFoundError",
    "OptimizeReport",
    "OutOfRangeError",
    "PermissionDeniedError",
    "RaggedTensorValue",
    "ResourceExhaustedError",
    "RunMetadata",
    "RunOptions",
    "Runner",
    "SavedModelBundle",
    "SavedModelError",
    "Session",
    "SessionCallable",
    "SessionOptions",
    "Signature",
    "SignatureDef",
    "Signatures",
    "SparseTensorValue",
    "TensorSpec",
    "TrackableObject",
    "UnauthenticatedError",
    "UnavailableError",
    "UnimplementedError",
    "UnknownError",
    "UnknownSignatureError",
    "Variable",
    "__version__",
    "aligned_allocator",
    "aligned_empty",
    "contains_saved_model",
    "copy_stats",
    "diagnose",
    "get_cmake_dir",
    "get_include_dir",
    "gradients",
    "inspect",
    "load",
    "load_saved_model",
    "set_log_level",
]

# Names that are not here yet, all of which need TensorFlow's library, come from these modules
# or else from `_native`.
_MODULES = {
    "savedmodel.diagnosis": ("Diagnosis", "diagnose"),
    "savedmodel.inspection": ("Inspection", "inspect"),
    "savedmodel.model": ("Model", "Signatures", "copy_stats", "load", "set_log_level"),
    "savedmodel.object_graph": ("Asset", "TrackableObject", "gradients"),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'savedmodel' has no attribute {name!r}")
    module = importlib.import_module(_MODULE_OF.get(name, "savedmodel._native"))
    value = getattr(module, name)
    globals()[name] = value  # the next use does not come here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
