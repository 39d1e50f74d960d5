"""What runs a model, side by side: this package and its peers, each in a process of its own.

    python benchmarks/runtimes

On small models, recurrent and attention models, convolutional nets of Keras Applications and two
published SavedModels: import, load and first answer, memory, time of a call, throughput of several
callers, and how far each runtime's answers are from TensorFlow's. Prints Markdown-like tables,
and writes JSON and plots where asked. Needs what the package needs to be built and the `bench`
extra, which brings the peers.
"""
