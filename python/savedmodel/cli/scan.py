"""`savedmodel scan`: ops that reach out of the graph, wherever they stand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from savedmodel.cli.arguments import FOUND, add_dir, add_tag_set, add_verb, model_name
from savedmodel.cli.console import escaped, json_text
from savedmodel.cli.show import find_meta_graph, set_text
from savedmodel.dangerous_ops import DANGEROUS_OPS, is_ordinary, names

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from savedmodel.cli.arguments import Subparsers
    from savedmodel.inspection import MetaGraphInfo, NodeInfo

# Of the name of a file: characters.
_SHOWN_NAME = 80

# saved_model_cli's default.
_DEFAULT_DENYLIST = {"WriteFile", "ReadFile", "PrintV2"}


def add_parser(subparsers: Subparsers) -> None:
    """Declare the verb `scan`."""
    parser = add_verb(
        subparsers,
        "scan",
        "find ops that read or write files, talk to others, call Python or print",
        """
        Find ops that reach out of the graph, in the graph and in all functions, without running
        anything: ops that read or write files, talk to other processes, call Python, print or end
        the process. What ordinary SavedModels need is left out: the saver's own reading and
        writing of the variables files, tables that are filled from assets, datasets that are
        cached in memory. The exit status is 3 if there are any.
        """,
        """
        savedmodel scan --dir MODEL
        savedmodel scan --dir MODEL --tag_set serve --format json
        savedmodel scan --dir MODEL --op_denylist ReadFile,PyFunc    # these, and only these
        """,
    )
    add_dir(parser)
    add_tag_set(parser)
    parser.add_argument(
        "--op_denylist",
        type=model_name,
        metavar="OPS",
        default="",
        help="ops to look for, separated by ','",
    )
    parser.add_argument("--format", choices=("text", "json"), default="text")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print what there is. Returns FOUND if that is anything, else 0."""
    from savedmodel.inspection import inspect

    chosen = None
    if args.op_denylist:
        chosen = {op for op in map(str.strip, args.op_denylist.split(",")) if op}
    inspection = inspect(args.dir, list_nodes=DANGEROUS_OPS if chosen is None else chosen)
    meta_graphs = inspection.meta_graphs
    if args.tag_set:
        meta_graphs = [find_meta_graph(inspection, args.tag_set)]

    findings = [
        (meta_graph, meta_graph.nodes if chosen is not None else dangerous_nodes(meta_graph))
        for meta_graph in meta_graphs
    ]
    if args.format == "json":
        _print_json(findings)
    else:
        for meta_graph, nodes in findings:
            _print_text(meta_graph, nodes, _DEFAULT_DENYLIST if chosen is None else chosen)
    return FOUND if any(nodes for _, nodes in findings) else 0


def dangerous_nodes(meta_graph: MetaGraphInfo) -> list[NodeInfo]:
    """Return the nodes listed in `meta_graph` that are dangerous where they stand."""
    return [node for node in meta_graph.nodes if node.op in DANGEROUS_OPS and not is_ordinary(node)]


def place(node: NodeInfo) -> str:
    """Return where a node stands, whether nothing runs it, and the files that it names."""
    text = f"node '{escaped(node.name)}'"
    if node.function:
        text += f" of function '{escaped(node.function)}'"
    if node.use == "dead":
        text += ", which nothing calls"
    for name in names(node):
        shown = name if len(name) <= _SHOWN_NAME else name[: _SHOWN_NAME - 3] + "..."
        text += f", with '{escaped(shown)}'"
    return text


def _print_text(
    meta_graph: MetaGraphInfo, nodes: Iterable[NodeInfo], denylist: Iterable[str]
) -> None:
    denylisted = set(denylist) & set(meta_graph.ops)
    contains, ops = "contains the following", denylisted
    if not denylisted:
        contains, ops = "does not contain the default", set(denylist)
    print(
        f"MetaGraph with tag set {list(meta_graph.tags)} {contains} denylisted ops:", set_text(ops)
    )
    for node in nodes:
        why = DANGEROUS_OPS.get(node.op, "denylisted")
        print(f"  {escaped(node.op)} ({why}): {place(node)}")


def _print_json(findings: Iterable[tuple[MetaGraphInfo, Iterable[NodeInfo]]]) -> None:
    report = [
        {
            "tags": list(meta_graph.tags),
            "findings": [{**node._asdict(), "why": DANGEROUS_OPS.get(node.op)} for node in nodes],
        }
        for meta_graph, nodes in findings
    ]
    print(json_text(report))
