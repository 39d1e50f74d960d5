"""The runtimes that are measured, by the names that the tables show."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.overhead import bare
from benchmarks.runtimes import adapters
from benchmarks.runtimes.convert import OPTIMIZED, NoConversionError, converted
from benchmarks.runtimes.models import export_dir


@dataclass(frozen=True)
class Runtime:
    """How to get an adapter, and the paths it loads a model from: the first that it can."""

    adapter: Callable[[], adapters.Adapter]
    paths: Callable[[str], Sequence[Path]]
    starts: bool = True  # whether its starts are measured
    calls: bool = True  # whether its calls are
    batches: bool = True  # whether calls with more than one row are
    small: bool = False  # whether only models of one thread are: copies are nothing to the others


def _saved_model(name: str) -> Sequence[Path]:
    return [export_dir(name)]


def _onnx(name: str) -> Sequence[Path]:
    return [converted(name, ".onnx")]


def _openvino(name: str) -> Sequence[Path]:
    # It reads both. Recurrent layers are ops of their own in ONNX, and run many times faster.
    try:
        return [converted(name, ".onnx"), export_dir(name)]
    except NoConversionError:
        return [export_dir(name)]


def _optimized(name: str) -> Sequence[Path]:
    return [converted(name, OPTIMIZED)]


def _tflite(name: str) -> Sequence[Path]:
    return [converted(name, ".tflite")]


NONE, DEFAULT, BOUND = "savedmodel none", "savedmodel default", "savedmodel default, bound"
BATCHED, SAVED = "savedmodel default, batched", "savedmodel default, save_optimized"
MAX, IN_CPP = "savedmodel max", "savedmodel default, C++ callers"
LIBRARIES = "libraries alone"
BARE = "C++ RunCallable"
TF2, TF1_SESSION, TF1_CALLABLE = "TF2 signature", "TF1 session.run", "TF1 make_callable"
ONNX, LITERT, OPENVINO = "ONNX Runtime", "LiteRT", "OpenVINO"

ONNX_ARRAYS, LITERT_ARRAYS = "ONNX Runtime, arrays", "LiteRT, arrays"
OPENVINO_ARRAYS = "OpenVINO, arrays"
PEERS = (ONNX, LITERT, OPENVINO)  # that are not TensorFlow
PEERS_ARRAYS = (ONNX_ARRAYS, LITERT_ARRAYS, OPENVINO_ARRAYS)

RUNTIMES: dict[str, Runtime] = {
    NONE: Runtime(partial(adapters.SavedModel, "none"), _saved_model),
    DEFAULT: Runtime(partial(adapters.SavedModel, "default"), _saved_model),
    BOUND: Runtime(partial(adapters.SavedModelBound, "default"), _saved_model, starts=False),
    IN_CPP: Runtime(
        partial(adapters.SavedModelInCpp, "default"), _saved_model, starts=False, small=True
    ),
    BATCHED: Runtime(
        partial(adapters.SavedModelBatched, "default"), _saved_model, starts=False, batches=False
    ),
    MAX: Runtime(partial(adapters.SavedModel, "max"), _saved_model, starts=False),
    SAVED: Runtime(partial(adapters.SavedModel, "default"), _optimized, calls=False),
    LIBRARIES: Runtime(adapters.Libraries, _saved_model, calls=False),
    BARE: Runtime(lambda: adapters.Bare(bare.LIBRARY), _saved_model),
    TF2: Runtime(adapters.TensorFlow, _saved_model),
    TF1_SESSION: Runtime(partial(adapters.TensorFlow1, make_callable=False), _saved_model),
    TF1_CALLABLE: Runtime(partial(adapters.TensorFlow1, make_callable=True), _saved_model),
    ONNX: Runtime(adapters.OnnxRuntime, _onnx),
    LITERT: Runtime(adapters.LiteRt, _tflite),
    OPENVINO: Runtime(adapters.OpenVino, _openvino),
    ONNX_ARRAYS: Runtime(adapters.OnnxRuntimeArrays, _onnx, starts=False, small=True),
    LITERT_ARRAYS: Runtime(adapters.LiteRtArrays, _tflite, starts=False, small=True),
    OPENVINO_ARRAYS: Runtime(adapters.OpenVinoArrays, _openvino, starts=False, small=True),
}
