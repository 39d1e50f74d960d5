"""`diagnose`: what would go wrong with a SavedModel here, told before anything is allocated."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from savedmodel.inspection import NodeInfo

__all__ = ["Diagnosis", "MemorySizes", "Problem", "diagnose"]


class Problem(NamedTuple):
    """One thing that is wrong.

    `severity`: "error" if loading the model or calling a signature (a function, if there is none)
    fails here; "warning" if what it is about may never be needed, or is for a person to judge.
    `kind`: one of

    - "unreadable_checkpoint": the variables files, or a data file shorter than the index says;
    - "missing_key", "mismatched_variable": a variable's value that the checkpoint lacks, or holds
      in another dtype or shape; "unrestored_variable": one that nothing gives a value;
    - "unread_key": a tensor of the checkpoint that no variable is restored from;
    - "broken_signature", "broken_graph": what contradicts itself;
    - "unregistered_op", "missing_function", "no_kernel", "absent_device": what the graph asks for
      and TensorFlow or this machine lacks;
    - "missing_asset": a file under `assets/`; "broken_asset": a file name that leads elsewhere;
    - "version": GraphDef versions that this TensorFlow does not read, or may not understand;
    - "dangerous_op": as `savedmodel scan` finds them.

    `subject`: the variable, key, op, function, device or file; it may be empty. `nodes`: where it
    stands in the graph.
    """

    severity: str
    kind: str
    subject: str
    message: str
    nodes: Sequence[NodeInfo]


class MemorySizes(NamedTuple):
    """Bytes.

    `signature_weights`: of the variables and tables that the signatures need; `weights`: and of
    those that functions need, which is what loading restores. `checkpoint`: of all tensors in the
    variables files. `graph`: of the GraphDef with its functions and its `constants`.
    """

    signature_weights: int
    weights: int
    checkpoint: int
    graph: int
    constants: int


class Diagnosis(NamedTuple):
    """What `diagnose` found in a MetaGraph.

    `path`: the SavedModel directory, or the archive. `tensorflow_version`, `producer` and
    `min_consumer` are those that it was saved with; `runtime_version` and `consumer` (the GraphDef
    version that it reads) those of the TensorFlow here. `devices`: what this machine has
    ("CPU:0"). `problems`: errors first. `repairs`: variables that the restore op forgets and a
    load fills all the same, as `LoadReport.repairs` lists them.
    """

    path: str
    tags: Sequence[str]
    tensorflow_version: str
    producer: int
    min_consumer: int
    runtime_version: str
    consumer: int
    devices: Sequence[str]
    problems: Sequence[Problem]
    repairs: Sequence[str]
    memory: MemorySizes

    @property
    def errors(self) -> list[Problem]:
        """What makes loading the model or calling its signatures fail here."""
        return [problem for problem in self.problems if problem.severity == "error"]

    @property
    def warnings(self) -> list[Problem]:
        """The other problems."""
        return [problem for problem in self.problems if problem.severity != "error"]


def diagnose(
    path: str | os.PathLike[str],
    tags: Iterable[str] | str | None = None,
    version: int | None = None,
) -> Diagnosis:
    """Tells what would go wrong with a SavedModel here.

    No session is made and no variable is read: of the variables files only the index is, and the
    object graph. What is wrong with one part keeps none of the others from being looked at.

    Args:
        path, tags, version: as `savedmodel.load` takes them.

    Raises:
        NotFoundError: no such directory, version or tags.
        DataLossError: a saved_model file that cannot be read.
    """
    from savedmodel import _native, archive
    from savedmodel.dangerous_ops import DANGEROUS_OPS, is_ordinary

    if tags is not None and not isinstance(tags, str):
        tags = sorted(tags)
    unpacked = archive.unpack(path)
    if unpacked is None:
        diagnosis = _native.diagnose(path, tags, version, DANGEROUS_OPS)
    else:
        with unpacked:
            diagnosis = _native.diagnose(unpacked.folder, tags, version, DANGEROUS_OPS)
        diagnosis = diagnosis._replace(path=unpacked.path)
    problems = []
    for problem in diagnosis.problems:
        if problem.kind == "dangerous_op":
            nodes = [node for node in problem.nodes if not is_ordinary(node)]
            if not nodes:
                continue
            problem = problem._replace(nodes=nodes)
        problems.append(problem)
    return diagnosis._replace(problems=problems)
