"""How soon a SavedModel gives its first answer, and in how much memory.

    python benchmarks/load

On models of Keras Applications as `model.export` saves them: `tf.saved_model.load`, TensorFlow's
plain C++ `LoadSavedModel` and `savedmodel.load`, in turn, each measurement in a process of its
own; and `savedmodel.inspect` beside `saved_model_cli show`. Needs what the package needs to be
built, `rich`, and Keras, which comes with TensorFlow.
"""
