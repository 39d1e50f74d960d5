"""The models that are measured: where they lie, what they are fed, how they are made."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks import fresh_process
from benchmarks.fresh_process import KERAS_MODELS, Progress
from benchmarks.native import BUILD, ROOT
from benchmarks.runtimes.files import Array

FOLDER = BUILD / "runtimes"
OVERHEAD_MODELS = BUILD / "models"  # of benchmarks/overhead, made by the same script
SEED = 0


@dataclass(frozen=True)
class Model:
    """A SavedModel whose signature `serving_default` has one input."""

    name: str
    row: tuple[int, ...]  # the input's shape, without the batch
    batches: tuple[int, ...] = (1, 32)
    # Of a kernel, in every runtime: one where sharing the work out takes longer than the work.
    threads: int = 2
    image: bool = False  # of Keras Applications

    @property
    def input_files(self) -> dict[int, Path]:
        """The file of the input of each batch."""
        return {batch: FOLDER / "inputs" / f"{self.name}-{batch}.npy" for batch in self.batches}


MODELS = {
    model.name: model
    for model in (
        Model("scalar", (), batches=(1,), threads=1),  # its shape is [1]
        Model("MLP", (64,), threads=1),
        Model("LSTM", (16, 64), threads=1),
        Model("transformer", (128, 512)),
        Model("MobileNet", (224, 224, 3), image=True),
        Model("ResNet50", (224, 224, 3), image=True),
        Model("EfficientNetB0", (224, 224, 3), image=True),
        Model("basic-pitch", (43844, 1)),
        Model("guesslang", ()),
    )
}
_OVERHEAD_NAMES = {"scalar": "scalar_multiply", "MLP": "mlp"}
_PUBLISHED = ("basic-pitch", "guesslang")


def export_dir(name: str) -> Path:
    """The SavedModel, which `prepare` has made."""
    if name in _OVERHEAD_NAMES:
        return OVERHEAD_MODELS / _OVERHEAD_NAMES[name]
    if name in _PUBLISHED:
        return _fetch(name)
    return (KERAS_MODELS if MODELS[name].image else FOLDER / "models") / name


def authors_file(name: str, extension: str) -> Path | None:
    """The model as its authors converted it, where they did; ".onnx" or ".tflite"."""
    file = export_dir(name).with_suffix(extension)
    return file if name in _PUBLISHED and file.exists() else None


def prepare(names: Sequence[str], progress: Progress) -> None:
    """Make or fetch those models that are not there yet, and what they are fed."""
    for name in names:
        progress(f"{name}: making the model")
        if name in _OVERHEAD_NAMES:
            script = ROOT / "benchmarks" / "overhead" / "models.py"
            fresh_process.make_once(script, OVERHEAD_MODELS / "complete", [OVERHEAD_MODELS])
        elif name in _PUBLISHED:
            _fetch(name)
        elif MODELS[name].image:
            fresh_process.export_keras_models([name], progress)
        else:
            script = Path(__file__).with_name("make_model.py")
            folder = FOLDER / "models"
            fresh_process.make_once(script, folder / f"{name}.complete", [folder, name])
        for batch, file in MODELS[name].input_files.items():
            file.parent.mkdir(parents=True, exist_ok=True)
            np.save(file, _input(MODELS[name], batch))


def _input(model: Model, batch: int) -> Array:
    if model.name == "guesslang":
        # Null bytes at their ends, which fixed-width strings drop, none of them has.
        snippets = [text.encode() for text in _example("guesslang").SNIPPETS.values()]
        return np.array([snippets[row % len(snippets)] for row in range(batch)])
    generator = np.random.default_rng(SEED)
    shape = (batch, *model.row)
    if model.image:
        return generator.uniform(0, 1, shape).astype(np.float32)
    return generator.standard_normal(shape, np.float32)


def _fetch(name: str) -> Path:
    path: Path = _example("fetch_models").fetch(name)
    return path


def _example(name: str):  # type: ignore[no-untyped-def]
    folder = str(ROOT / "examples")
    if folder not in sys.path:
        sys.path.append(folder)
    return importlib.import_module(name)
