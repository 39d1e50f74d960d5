"""What this project adds to TensorFlow's runtime: time of a call, copies, imports, memory.

    python benchmarks/overhead

Needs what the package needs to be built, and `rich`. Each figure stands beside a peer that was
measured in the same run, in turn with it, and most are differences or ratios of the two.
"""
