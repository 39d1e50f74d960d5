"""Figures of speed and memory, each beside a peer that was measured in the same run.

    python benchmarks/overhead
    python benchmarks/load
    python benchmarks/cli
    python benchmarks/runtimes

All but cli need what the package needs to be built, and the `bench` extra; all but overhead need
Keras, which comes with TensorFlow.
"""
