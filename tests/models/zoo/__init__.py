"""SavedModels that TensorFlow writes for the tests, and the calls to make on each."""

from importlib import import_module

from zoo.registry import MODELS, Call, Model

THEMES = (
    "dtypes",
    "text",
    "lookup",
    "control_flow",
    "functions",
    "recurrent",
    "signatures",
    "batching",
    "composites",
    "state",
    "numeric",
    "vision",
    "keras_models",
    "fusion",
    "layout",
    "tf1",
    "tf1_files",
)

for theme in THEMES:
    import_module(f"zoo.{theme}")

__all__ = ["MODELS", "Call", "Model"]
