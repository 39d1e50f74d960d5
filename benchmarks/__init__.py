"""Figures of speed and memory, each beside a peer that was measured in the same run.

    python benchmarks/overhead
    python benchmarks/load
    python benchmarks/cli

overhead and load need what the package needs to be built, and the `bench` extra; load and cli need
Keras too.
"""
