"""`savedmodel run`: one call of a signature on inputs from the command line."""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from savedmodel.cli.arguments import (
    CommandError,
    UsageError,
    add_dir,
    add_flag,
    add_signature_def,
    add_tag_set,
    add_verb,
    model_name,
    writing,
)
from savedmodel.cli.console import escaped
from savedmodel.cli.inputs import add_input_arguments, choose_signature, read_inputs

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

    from savedmodel._native import Signature
    from savedmodel.cli.arguments import Subparsers
    from savedmodel.model import Model

    Array = npt.NDArray[Any]

# Before the names of copies that Session.inline_functions makes.
_COPIES = "savedmodel/inlined/"

# Flags of saved_model_cli that have no meaning here -> what to do instead.
_INSTEAD = {
    "tf_debug": "--fetch TENSOR shows intermediate tensors",
    "worker": "models run in this process",
    "init_tpu": "TPUs are not supported",
    "use_tfrt": "there is one runtime",
}


def add_parser(subparsers: Subparsers) -> None:
    """Declare the verb `run`."""
    parser = add_verb(
        subparsers,
        "run",
        "call a signature on files, expressions or tf.train.Examples",
        """
        Call a signature once and print its outputs, and with --outdir save them as .npy files.
        Expressions are evaluated by a list of what is allowed: Python literals, arithmetic and
        NumPy's constructors.
        """,
        """
        savedmodel run --dir MODEL --tag_set serve --signature_def serving_default \\
            --input_exprs 'x=np.ones((1, 224, 224, 3))'
        savedmodel run --dir MODEL --inputs 'x=cat.jpg'                  # an image
        savedmodel run --dir MODEL --inputs 'x1=a.npy;x2=b.npz[x2]' --outdir OUT --overwrite
        savedmodel run --dir MODEL --input_examples 'examples=[{"age": [22], "name": ["Ada"]}]'
        savedmodel run --dir MODEL --input_exprs 'x=np.ones((1, 3))' --fetch '*/dense/Relu'
        """,
    )
    add_dir(parser)
    add_tag_set(parser)
    add_signature_def(parser)
    add_input_arguments(parser)
    parser.add_argument("--outdir", metavar="DIR", help="save each output there as KEY.npy")
    add_flag(parser, "overwrite", "replace files that are in --outdir already")
    parser.add_argument(
        "--fetch",
        nargs="+",
        default=[],
        type=model_name,
        metavar="TENSOR",
        help="also show these tensors of the graph and of the functions that it calls, by their "
        "names (StatefulPartitionedCall/dense/Relu:0) or patterns ('*/Relu')",
    )
    for flag in _INSTEAD:
        parser.add_argument(f"--{flag}", nargs="?", const="true", help=argparse.SUPPRESS)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Call the signature; print and save what it gives. Returns 0."""
    for flag, instead in _INSTEAD.items():
        if getattr(args, flag) is not None:
            raise UsageError(f"--{flag} is not supported: {instead}")
    import savedmodel

    chosen = None if args.signature_def is None else [args.signature_def]
    # To the last digit what saved_model_cli prints.
    options = {"tags": args.tag_set, "signatures": chosen, "optimize": "none"}
    with savedmodel.load(args.dir, **options) as model:
        signature = choose_signature(model, args.signature_def)
        inputs = read_inputs(args, signature)
        tensors = [spec.name for _, spec in sorted(signature.outputs.items())]
        targets: list[str] = []
        fetches: dict[str, str] = {}
        if args.fetch:
            tensors, targets, nodes = model.session.inline_functions(tensors)
            fetches = _resolve(model, signature, args.fetch, nodes)
        results = [("output key", key) for key in sorted(signature.outputs)]
        results += [("tensor", name) for name in fetches]
        files: list[Path | None] = [None] * len(results)
        if args.outdir is not None:
            outdir = Path(args.outdir)
            files = [outdir / file_name(key) for _, key in results]
            _check_directory(outdir)
            _check_files([file for file in files if file is not None], args.overwrite)
        values = _call(model, signature, inputs, [*tensors, *fetches.values()], targets)
    for (kind, key), file, value in zip(results, files, values, strict=True):
        print(f"Result for {kind} {escaped(key)}:\n{value}")
        if file is not None:
            _save(file, value, args.overwrite)
            print(f"Output {escaped(key)} is saved to {escaped(str(file))}")
    return 0


def file_name(key: str) -> str:
    """Return the name of the file of an output: another one for each key, and never a path.

    What no file name may hold ("/") or nobody wants in one (control characters) is written as in a
    URL, and so is "%" itself.
    """
    unsafe = {"/", "%", *map(chr, range(0x20)), "\x7f"}
    return "".join(f"%{ord(c):02X}" if c in unsafe else c for c in key) + ".npy"


def _resolve(
    model: Model, signature: Signature, patterns: list[str], copies: list[str]
) -> dict[str, str]:
    """Return what tensors are meant: by name, or all that a pattern with a '*' matches.

    What they are called -> what to fetch: of nodes within functions, their copies. `copies`: the
    nodes that Session.inline_functions names.
    """
    from fnmatch import fnmatchcase

    nodes = {name.removeprefix(_COPIES): name for name in copies}
    fetches: dict[str, str] = {}
    for pattern in patterns:
        node_pattern, _, output = pattern.partition(":")
        if "*" not in pattern:
            name = f"{nodes.get(node_pattern, node_pattern)}:{output or 0}"
            if node_pattern not in nodes and _is_array(model, name):
                # What takes something from a call has a copy, too. Both would run it twice.
                ((name,), _, _) = model.session.inline_functions([name])
            fetches[pattern] = name
            continue
        matches = {
            f"{node}:{output or 0}": f"{copy}:{output or 0}"
            for node, copy in nodes.items()
            if fnmatchcase(node, node_pattern) and _is_array(model, f"{copy}:{output or 0}")
        }
        if not matches:
            raise CommandError(
                f"signature '{signature.name}': no tensor '{pattern}' among its {len(nodes)} nodes"
                f"{_nearest(node_pattern, nodes)}"
            )
        fetches |= matches
    return fetches


def _nearest(pattern: str, nodes: Iterable[str]) -> str:
    from difflib import get_close_matches

    wanted = pattern.strip("*/").rpartition("/")[2]
    names = sorted({node.rpartition("/")[2] for node in nodes})
    nearest = get_close_matches(wanted, names, 3, 0.5) or names[:5]
    return "; there are " + ", ".join(f"'*/{name}'" for name in nearest) if nearest else ""


def _is_array(model: Model, tensor: str) -> bool:
    """Return whether there is such a tensor, and it is no handle of a resource."""
    from savedmodel.errors import InvalidArgumentError

    try:
        return model.session.tensor_spec(tensor).dtype is not None
    except InvalidArgumentError:
        return False


def _call(
    model: Model,
    signature: Signature,
    inputs: dict[str, Array],
    tensors: list[str],
    targets: list[str],
) -> list[Array]:
    """Return these tensors: the outputs, sorted by key, and then what else is fetched."""
    given = signature.default_inputs | inputs
    missing = [spec.name for key, spec in signature.inputs.items() if key not in given]
    only_outputs = len(tensors) == len(signature.outputs)
    if only_outputs and not (missing and _have_defaults(model, missing)):
        outputs = signature.run(inputs)  # or the error that names what is missing
        return [outputs[key] for key in sorted(outputs)]
    # As tensors of the graph, of which TF1 may leave some unfed.
    feeds = {signature.inputs[key].name: value for key, value in given.items()}
    return model.run(tensors, feeds, targets)


def _have_defaults(model: Model, tensors: Iterable[str]) -> bool:
    """Return whether the graph has values for these tensors where nothing is fed."""
    from savedmodel.cli.show import find_meta_graph
    from savedmodel.inspection import inspect

    inspection = inspect(model.path, list_nodes=["PlaceholderWithDefault"])
    nodes = find_meta_graph(inspection, model.tags).nodes
    with_default = {node.name for node in nodes if not node.function}
    return all(tensor.partition(":")[0] in with_default for tensor in tensors)


def _check_directory(directory: Path) -> None:
    """Raise before anything is run, if the directory cannot be made or written to."""
    existing = directory
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir():
        raise CommandError(f"--outdir {directory}: {existing} is no directory")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise CommandError(f"--outdir {directory}: {existing} cannot be written to")


def _check_files(files: list[Path], overwrite: bool) -> None:
    """Raise before anything is run, if the files could not be written."""
    for file in files:
        if len(os.fsencode(file.name)) > 255:
            raise CommandError(f"the name of an output is too long for a file: {file.name[:60]}...")
        if file.is_dir() and not file.is_symlink():
            raise CommandError(f"Output file {file} is a directory")
        if not overwrite and (file.exists() or file.is_symlink()):
            raise CommandError(
                f"Output file {file} already exists. Add --overwrite to overwrite the existing "
                "output files."
            )
    if duplicates := len(files) - len(set(files)):
        raise CommandError(f"{duplicates} of the tensors would be saved to the same file")


def _save(file: Path, value: Array, overwrite: bool) -> None:
    """Write a .npy file, whole or not at all. A link at its place is replaced, not followed."""
    import numpy as np

    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=file.parent, prefix=".savedmodel-") as folder:
        temporary = Path(folder) / "output.npy"
        with writing(file):
            # A single string goes without pickle.
            np.save(temporary, value if value.ndim else value[()])
        if overwrite:
            temporary.replace(file)
        else:
            file.hardlink_to(temporary)  # fails if something is there
