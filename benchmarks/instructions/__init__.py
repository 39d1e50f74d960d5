"""Instructions of a call, counted by callgrind and compared with the committed figures.

    python benchmarks/instructions [--update] [--models FOLDER]

The calls are those of `calls.cc`, on models of tests/models/zoo. Counting is on inside of them
alone, so neither loading nor another program on the machine changes the figures. `expected.json`
holds the figures; one that has grown by more than a tenth is an error. Valgrind knows no AVX-512,
so the kernels are those of AVX2 on every machine.
"""
