r"""`savedmodel show`: what a SavedModel holds, in `saved_model_cli`'s words, as JSON or as a tree.

The text is that of the `saved_model_cli` of the same TensorFlow version, with its quirks: a list
ends with backspaces over its last comma. What differs: ops are sorted there, where it prints a
Python set, and control characters in names are escaped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from savedmodel.cli.arguments import (
    CommandError,
    add_dir,
    add_flag,
    add_signature_def,
    add_tag_set,
    add_verb,
)
from savedmodel.cli.console import console, escaped, json_text, shape_text, size_text

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from rich.tree import Tree

    from savedmodel.cli.arguments import Subparsers
    from savedmodel.inspection import (
        ArgumentInfo,
        ConcreteFunctionInfo,
        Inspection,
        MetaGraphInfo,
        SignatureDefInfo,
        TensorInfo,
    )


def add_parser(subparsers: Subparsers) -> None:
    """Declare the verb `show`."""
    parser = add_verb(
        subparsers,
        "show",
        "list tag sets, signatures, ops and functions",
        """
        List what a SavedModel holds: its tag sets; with --tag_set the signatures of a MetaGraph;
        with --signature_def, too, the inputs and outputs of one; with --all everything. Nothing is
        loaded.
        """,
        """
        savedmodel show --dir MODEL                       # the tag sets
        savedmodel show --dir MODEL --all                 # everything
        savedmodel show --dir MODEL --tag_set serve       # the signatures
        savedmodel show --dir MODEL --tag_set serve --signature_def serving_default
        savedmodel show --dir MODEL --tag_set serve --list_ops
        savedmodel show --dir MODEL --format tree         # everything, to look at
        savedmodel show --dir MODEL --format json         # everything, for a program
        """,
    )
    add_dir(parser)
    add_flag(parser, "all", "show everything")
    add_tag_set(parser)
    add_signature_def(parser)
    add_flag(parser, "list_ops", "show the ops of the MetaGraph that --tag_set names")
    parser.add_argument(
        "--format",
        choices=("text", "json", "tree"),
        default="text",
        help="text, as saved_model_cli (default); json and tree always show everything",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Show it. Returns 0."""
    from savedmodel.inspection import inspect

    inspection = inspect(args.dir)
    if args.format == "json":
        _print_json(inspection)
    elif args.format == "tree":
        console().print(_tree(inspection))
    elif args.all:
        _print_all(inspection)
    elif args.tag_set is None:
        if args.list_ops:
            print("--list_ops must be paired with a tag-set or with --all.")
        _print_tag_sets(inspection)
    else:
        meta_graph = find_meta_graph(inspection, args.tag_set)
        if args.list_ops:
            _print_ops(meta_graph)
        if args.signature_def is None:
            _print_signature_keys(meta_graph)
        else:
            if args.signature_def not in meta_graph.signature_defs:
                raise CommandError(
                    f"model '{inspection.path}': no signature '{args.signature_def}'; "
                    f"there are: {_quoted(meta_graph.signature_defs)}"
                )
            _print_signature(meta_graph.signature_defs[args.signature_def], indent=0)
    return 0


def find_meta_graph(inspection: Inspection, tags: Iterable[str]) -> MetaGraphInfo:
    """Return the MetaGraph with exactly these tags. CommandError names those that there are."""
    wanted = set(tags)
    for meta_graph in inspection.meta_graphs:
        if set(meta_graph.tags) == wanted:
            return meta_graph
    choices = _quoted(",".join(meta_graph.tags) for meta_graph in inspection.meta_graphs)
    raise CommandError(
        f"model '{inspection.path}': no MetaGraph with the tag set '{','.join(sorted(wanted))}'; "
        f"there are: {choices}"
    )


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def _print_tag_sets(inspection: Inspection) -> None:
    print("The given SavedModel contains the following tag-sets:")
    for tags in sorted(list(meta_graph.tags) for meta_graph in inspection.meta_graphs):
        print(repr(", ".join(sorted(tags))))


def _print_ops(meta_graph: MetaGraphInfo) -> None:
    print(
        f"The MetaGraph with tag set {list(meta_graph.tags)} contains the following ops:",
        set_text(meta_graph.called_ops),
    )


def set_text(names: Iterable[str]) -> str:
    """Return the names as Python writes a set of them, but sorted."""
    return "{" + ", ".join(map(repr, sorted(names))) + "}" if names else "set()"


def _print_signature_keys(meta_graph: MetaGraphInfo) -> None:
    print("The given SavedModel MetaGraphDef contains SignatureDefs with the following keys:")
    for key in sorted(meta_graph.signature_defs):
        print(f'SignatureDef key: "{escaped(key)}"')


def _print_all(inspection: Inspection) -> None:
    for meta_graph in sorted(inspection.meta_graphs, key=lambda info: list(info.tags)):
        print(
            f"\nMetaGraphDef with tag-set: '{escaped(', '.join(meta_graph.tags))}' "
            "contains the following SignatureDefs:"
        )
        for key in sorted(meta_graph.signature_defs):
            print(f"\nsignature_def['{escaped(key)}']:")
            _print_signature(meta_graph.signature_defs[key], indent=1)
        _print_ops(meta_graph)
    _print_functions(inspection)


def _print_signature(signature: SignatureDefInfo, indent: int) -> None:
    prefix = "  " * indent
    for kind, infos in (("input", signature.inputs), ("output", signature.outputs)):
        print(f"{prefix}The given SavedModel SignatureDef contains the following {kind}(s):")
        for key in sorted(infos):
            info = infos[key]
            print(f"{prefix}  {kind}s['{escaped(key)}'] tensor_info:")
            # One level deeper than the heading.
            print(f"{prefix}      dtype: {info.dtype}")
            print(f"{prefix}      shape: {_shape_text(info)}")
            print(f"{prefix}      name: {escaped(info.name)}")
    print(f"{prefix}Method name is: {escaped(signature.method_name)}")


def _shape_text(info: TensorInfo) -> str:
    if info.shape is None:
        return "unknown_rank"
    return "(" + ", ".join("-1" if size is None else str(size) for size in info.shape) + ")"


def _print_functions(inspection: Inspection) -> None:
    """Print the functions that the root object has, as TensorFlow's loader would restore them."""
    if not any(meta_graph.num_objects for meta_graph in inspection.meta_graphs):
        return
    print("\nConcrete Functions:", end="")
    if len(inspection.meta_graphs) > 1:
        # TensorFlow's loader wants to be told which.
        print(" N/A (could not be listed due to unknown reasons)")
        return
    (meta_graph,) = inspection.meta_graphs
    for name, path in sorted(meta_graph.root_functions.items()):
        print(f"\n  Function Name: '{escaped(name)}'")
        for number, function in enumerate(meta_graph.functions[path], 1):
            _print_concrete_function(function, number)


def _print_concrete_function(function: ConcreteFunctionInfo, number: int) -> None:
    if function.arguments:
        print(f"    Option #{number}")
        print("      Callable with:")
        for index, argument in enumerate(function.arguments, 1):
            print(f"        Argument #{index}")
            _print_argument(argument)
    for index, name in enumerate(function.keyword_arguments, 1):
        print(f"        Named Argument #{index}")
        print(f"          {escaped(name)}")


def _print_argument(argument: ArgumentInfo) -> None:
    text = escaped(argument.text)
    if argument.type == "str":
        print(f"          {text}")
    elif argument.type == "TensorSpec":
        print(f"          {escaped(argument.name) or None}: {text}")
    else:
        print(f"          DType: {escaped(argument.type)}")
        if argument.type == "dict":
            items = "".join(
                f"'{escaped(key)}': {_element_text(value)}, " for key, value in argument.elements
            )
            print(f"          Value: {{{items}\b\b}}")
        elif argument.elements or argument.type in ("list", "tuple"):
            items = "".join(f"{_element_text(value)}, " for _, value in argument.elements)
            print(f"          Value: [{items}\b\b]")
        else:
            print(f"          Value: {text}")


def _element_text(element: ArgumentInfo) -> str:
    text = escaped(element.text)
    return f"'{text}'" if element.type == "str" else text


def _print_json(inspection: Inspection) -> None:
    print(json_text(_plain(inspection)))


def _plain(value: Any) -> Any:
    """Return records as dicts. Signatures are told once, as they were saved."""
    if hasattr(value, "_asdict"):
        fields = value._asdict()
        if "signature_defs" in fields:
            fields["signatures"] = fields.pop("signature_defs")
        return {name: _plain(field) for name, field in fields.items()}
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _tree(inspection: Inspection) -> Tree:
    from rich.text import Text
    from rich.tree import Tree

    def label(name: str, details: str = "", style: str = "") -> Text:
        return Text.assemble((escaped(name), style), (escaped(f"  {details}".rstrip()), "dim"))

    size = sum(inspection.files.values())
    tree = Tree(label(inspection.path, size_text(size), "bold"))
    if inspection.versions:
        tree.add(label("versions", ", ".join(map(str, inspection.versions))))
    for meta_graph in inspection.meta_graphs:
        _add_meta_graph(tree, meta_graph, label)
    if inspection.checkpoint:
        entries = inspection.checkpoint
        read = sum(entry.bytes for entry in entries.values())
        files = f"{inspection.num_shards} file" + "s" * (inspection.num_shards != 1)
        branch = tree.add(
            label("checkpoint", f"{len(entries)} tensors, {size_text(read)} in {files}", "bold")
        )
        for key, entry in entries.items():
            branch.add(label(key, f"{entry.dtype} {shape_text(entry.shape)}"))
    return tree


def _add_meta_graph(tree: Tree, info: MetaGraphInfo, label: Any) -> None:
    tags = ", ".join(info.tags)
    details = f"TensorFlow {info.tensorflow_version or '?'}, {info.num_nodes} nodes"
    branch = tree.add(label(f"MetaGraph {tags}", details, "bold"))

    def add_section(name: str, count: int) -> Tree | None:
        return branch.add(label(name, str(count), "bold cyan")) if count else None

    if section := add_section("signatures", len(info.signature_defs)):
        for key, signature in info.signature_defs.items():
            node = section.add(label(key, signature.method_name, "green"))
            for arrow, infos in (("→", signature.inputs), ("←", signature.outputs)):
                for name, tensor in infos.items():
                    dtype = tensor.dtype.removeprefix("DT_").lower()
                    node.add(label(f"{arrow} {name}", f"{dtype} {shape_text(tensor.shape)}"))
    if section := add_section("functions", len(info.functions)):
        for path, traces in info.functions.items():
            node = section.add(label(path or "(reached by no attribute)", style="green"))
            for trace in traces:
                node.add(label(trace.inputs, f"→ {trace.outputs}" if trace.outputs else ""))
    if section := add_section("variables", len(info.variables)):
        for variable in info.variables:
            frozen = "" if variable.trainable else ", not trainable"
            section.add(
                label(
                    variable.path or variable.name,
                    f"{variable.dtype} {shape_text(variable.shape)}{frozen}",
                )
            )
    if section := add_section("tables", len(info.tables)):
        for path, op in info.tables.items():
            section.add(label(path, op))
    if section := add_section("assets", len(info.assets)):
        for tensor_name, file in info.assets.items():
            section.add(label(file, f"fed to {tensor_name}"))
    if section := add_section("ops", len(info.ops)):
        ops = sorted(info.ops.items(), key=lambda item: (-item[1], item[0]))
        section.add(label(", ".join(f"{op} {count}" for op, count in ops)))
