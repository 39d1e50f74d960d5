"""What `bench` and `profile` share: a signature to call, and inputs to call it with."""

from __future__ import annotations

import argparse
import math
import string
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from savedmodel.cli.arguments import (
    CommandError,
    UsageError,
    add_dir,
    add_signature_def,
    add_tag_set,
    whole_number,
)
from savedmodel.cli.inputs import add_input_arguments, choose_signature

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from savedmodel import Model, Signature, TensorSpec
    from savedmodel.cli.arguments import Parser

    Array = npt.NDArray[Any]

# A saved shape may say anything; random values of more bytes than these are not made for it.
_MOST_BYTES = 1 << 32
_STRING_BYTES = 64  # About what a short `bytes` takes, and the pointer to it.

# Random integers are less than this: valid ids, classes and indices in most models.
_INTEGERS = 2
_LETTERS_IN_WORD = 8
_NARROW_INTEGERS = ("int2", "int4", "uint2", "uint4")  # Which NumPy itself does not know.

BATCH_OF_GIVEN = "--batch is for random inputs; given ones have a size of their own"

# Signatures that take serialized tf.train.Example protos, by the names of TensorFlow Serving.
_EXAMPLE_METHODS = ("tensorflow/serving/classify", "tensorflow/serving/regress")


class Inputs(NamedTuple):
    """Arrays for a call, by input name, in memory that goes in without a copy (strings aside).

    `random`: the names of those that were made up. `examples`: how many examples one call is,
    the first size that all inputs but scalars share, else 1.
    """

    arrays: dict[str, Array]
    random: frozenset[str]
    examples: int


def add_call_arguments(parser: Parser) -> None:
    """Declare the arguments that choose a signature and its inputs."""
    add_dir(parser)
    add_tag_set(parser)
    add_signature_def(parser)
    add_input_arguments(parser)
    parser.add_argument(
        "--shape",
        action="append",
        default=[],
        type=_named_shape,
        metavar="INPUT=SIZES",
        help="sizes of a random input, as x=1,224,224,3; -1 first: the batch. Unknown sizes that "
        "are not told are 1. May be repeated",
    )
    parser.add_argument(
        "--optimize",
        choices=["none", "default", "max"],
        default="default",
        help="as savedmodel.load takes it; none: TensorFlow's session (default: %(default)s)",
    )
    for name, what in (
        ("intra_op", "threads that work on one op"),
        ("inter_op", "threads that start ops"),
    ):
        parser.add_argument(
            f"--{name}",
            type=whole_number(1),
            metavar="N",
            help=f"{what}; by default TensorFlow's choice",
        )


def load_signature(args: argparse.Namespace) -> tuple[Model, Signature]:
    """Load the model and return it with the signature that is named, or the default or only one."""
    import savedmodel

    options = {
        f"{name}_parallelism_threads": count
        for name, count in (("intra_op", args.intra_op), ("inter_op", args.inter_op))
        if count is not None
    }
    model = savedmodel.load(
        args.dir,
        args.tag_set,
        savedmodel.SessionOptions(**options),
        signatures=None if args.signature_def is None else [args.signature_def],
        optimize=args.optimize,
    )
    try:
        return model, choose_signature(model, args.signature_def)
    except Exception:
        model.close()
        raise


def make_inputs(
    signature: Signature,
    given: Mapping[str, Array],
    shapes: Mapping[str, tuple[int, ...]],
    batch: int | None,
) -> Inputs:
    """Return the given arrays, and random ones by the signature's specs for what is missing.

    `shapes`: of random inputs, -1 in them for the batch. `batch`: the first size of random inputs
    where the signature leaves it open; None: as the given ones have it, else 1. Inputs with a
    default are left out.
    """
    import numpy as np

    specs = signature.inputs
    for name in shapes:
        if name not in specs or name in given:
            names = ", ".join(f"'{key}'" for key in specs if key not in given) or "none"
            raise UsageError(f"--shape: no random input '{name}'; there are: {names}")
    if batch is None:
        batch = _examples(given) if given else 1
    generator = np.random.default_rng(0)  # The same inputs in each run: figures compare.
    arrays = {name: _aligned(array) for name, array in given.items()}
    random = specs.keys() - given.keys() - signature.default_inputs.keys()
    for name in sorted(random):
        if specs[name].dtype is None:
            raise CommandError(f"signature '{signature.name}', input '{name}' takes a resource")
        shape = _random_shape(name, specs[name], shapes.get(name), batch)
        if signature.method_name in _EXAMPLE_METHODS and specs[name].dtype.kind == "O":
            # The empty string is a serialized tf.train.Example, whose features take defaults.
            arrays[name] = np.full(shape, b"", object)
        else:
            arrays[name] = _aligned(_random_array(generator, specs[name].dtype, shape))
    return Inputs(arrays, frozenset(random), _examples(arrays))


def copied(inputs: Inputs) -> dict[str, Array]:
    """Return the same values in memory of their own."""
    return {name: _aligned(array) for name, array in inputs.arrays.items()}


def refused(error: Exception, inputs: Inputs) -> Exception:
    """Return what to raise for the error of a first call: that random inputs may be the reason."""
    if not inputs.random:
        return CommandError(str(error) or type(error).__name__)
    names = ", ".join(f"'{name}'" for name in sorted(inputs.random))
    return CommandError(
        f"{error} (called with random values for {names}: give better ones with --inputs, "
        "--input_exprs or --input_examples, other sizes with --shape)"
    )


def dtype_name(dtype: np.dtype[Any]) -> str:
    """Return the name of a dtype of a signature: "float32", "string"."""
    return "string" if dtype.kind == "O" else dtype.name


def _examples(arrays: Mapping[str, Array]) -> int:
    sizes = {array.shape[0] for array in arrays.values() if array.ndim}
    return sizes.pop() if len(sizes) == 1 else 1


def _random_shape(
    name: str, spec: TensorSpec, told: tuple[int, ...] | None, batch: int
) -> tuple[int, ...]:
    if told is not None:
        sizes: tuple[int | None, ...] = tuple(None if size < 0 else size for size in told)
    elif spec.shape is None:
        sizes = (None,)
    else:
        sizes = spec.shape
    shape = tuple(
        size if size is not None else batch if axis == 0 else 1 for axis, size in enumerate(sizes)
    )
    item = _STRING_BYTES if spec.dtype.kind == "O" else spec.dtype.itemsize
    if math.prod(shape) * item > _MOST_BYTES:
        raise CommandError(
            f"input '{name}': a random array of shape {shape} is too large "
            f"(over {_MOST_BYTES >> 30} GiB); choose a smaller --batch or --shape"
        )
    return shape


def _random_array(
    generator: np.random.Generator, dtype: np.dtype[Any], shape: tuple[int, ...]
) -> Array:
    """Return normal floats, integers 0 and 1, uint8 of all values, words of ASCII."""
    import numpy as np

    if dtype.kind == "O":
        letters = np.frombuffer(string.ascii_lowercase.encode(), np.uint8)
        words = generator.choice(letters, (math.prod(shape), _LETTERS_IN_WORD))
        return np.array([word.tobytes() for word in words], object).reshape(shape)
    if dtype.kind == "b":
        return generator.integers(0, 2, shape).astype(dtype)
    if dtype == np.uint8:
        return generator.integers(0, 256, shape, dtype)
    if dtype.kind in "iu" or dtype.name in _NARROW_INTEGERS:
        return generator.integers(0, _INTEGERS, shape).astype(dtype)
    if dtype.kind == "c":
        return (generator.standard_normal(shape) + 1j * generator.standard_normal(shape)).astype(
            dtype
        )
    return generator.standard_normal(shape, np.float32).astype(dtype)


def _aligned(array: Array) -> Array:
    import savedmodel

    if array.dtype.kind == "O":
        return array
    copy = savedmodel.aligned_empty(array.shape, array.dtype)
    copy[...] = array
    return copy


def _named_shape(text: str) -> tuple[str, tuple[int, ...]]:
    name, equals, sizes = text.rpartition("=")
    try:
        shape = tuple(int(size) for size in sizes.split(",")) if sizes.strip() else ()
    except ValueError:
        shape = (-2,)
    if not equals or any(size < -1 for size in shape) or -1 in shape[1:]:
        raise argparse.ArgumentTypeError(f"not INPUT=SIZE,SIZE,...: {text!r}")
    return name, shape
