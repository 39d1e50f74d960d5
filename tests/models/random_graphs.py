"""Object graphs by description: what a property-based test draws, and TensorFlow saves.

The test imports the descriptions from here; TensorFlow is imported only by `save`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

Arguments = tuple[tuple[Any, ...], dict[str, Any]]
"""Positional and keyword arguments: arrays and Python values in lists, tuples and dicts."""


@dataclass(frozen=True)
class Variable:
    """A variable with its value."""

    value: np.ndarray
    trainable: bool


@dataclass(frozen=True)
class Leaf:
    """A place in the object graph for variable or function `index`, or for the root."""

    kind: str  # "variable", "function" or "root"
    index: int = 0


@dataclass(frozen=True)
class Module:
    """An object with attributes."""

    children: dict[str, Node]


Node = Leaf | Module | list["Node"] | tuple["Node", ...] | dict[str, "Node"]


@dataclass(frozen=True)
class Output:
    """A value that a function returns, computed from what it is given and from a variable.

    "tensor" is an argument as it is, "mix" the sum of an argument and of a variable, "read" a
    variable, "literals" the text of the Python values among the arguments, "none" is None.
    """

    kind: str
    tensor: int = 0
    variable: int = 0


@dataclass(frozen=True)
class Function:
    """A `tf.function`, by its parameters as Python writes them, and by the calls it is traced with.

    `outputs` is a structure with an Output at each leaf; `updates` are the variables that each
    call changes.
    """

    parameters: str
    traces: list[Arguments]
    outputs: Any
    updates: list[int]


@dataclass(frozen=True)
class Signature:
    """A signature, by the arrays that one call gives it; their first dimension may vary."""

    inputs: dict[str, np.ndarray]
    outputs: dict[str, Output]
    updates: list[int]


@dataclass(frozen=True)
class Graph:
    """A whole model. Variables and functions are also listed by the root, so that all are saved."""

    variables: list[Variable]
    functions: list[Function]
    root: Module
    signatures: dict[str, Signature]


def leaves(node: Node, path: str = "model") -> Iterator[tuple[str, Node]]:
    """The expression that leads to each node below the root, and the node."""
    yield path, node
    if isinstance(node, Module):
        for name, child in node.children.items():
            yield from leaves(child, f"{path}.{name}")
    elif isinstance(node, dict):
        for name, child in node.items():
            yield from leaves(child, f"{path}[{name!r}]")
    elif isinstance(node, list | tuple):
        for index, child in enumerate(node):
            yield from leaves(child, f"{path}[{index}]")


def save(graph: Graph, path: str) -> None:
    """Builds and saves a model with TensorFlow."""
    import tensorflow as tf

    root = tf.Module()
    variables = [tf.Variable(v.value, trainable=v.trainable) for v in graph.variables]

    def total(tensor: tf.Tensor) -> tf.Tensor:
        if tensor.dtype == tf.string:
            tensor = tf.strings.length(tensor)
        return tf.reduce_sum(tf.cast(tensor, tf.float64))

    def compute(output: Output, arguments: Any) -> Any:
        leaves = tf.nest.flatten(arguments)
        tensors = [leaf for leaf in leaves if tf.is_tensor(leaf)] or [tf.constant(0)]
        tensor = tensors[output.tensor % len(tensors)]
        variable = variables[output.variable % len(variables)]
        match output.kind:
            case "tensor":
                return tf.identity(tensor)
            case "mix":
                return total(tensor) + total(variable.read_value())
            case "read":
                return variable.read_value()
            case "literals":
                return tf.constant(repr([leaf for leaf in leaves if not tf.is_tensor(leaf)]))
        return None

    def update(index: int) -> None:
        variable = variables[index % len(variables)]
        if variable.dtype == tf.string:
            variable.assign(tf.strings.join([variable, "!"]))
        elif variable.dtype == tf.bool:
            variable.assign(tf.logical_not(variable))
        else:
            variable.assign(variable + tf.ones([], variable.dtype))

    def respond(arguments: Any, outputs: Any, updates: list[int]) -> Any:
        result = tf.nest.map_structure(lambda output: compute(output, arguments), outputs)
        for index in updates:
            update(index)
        return result

    def build_function(function: Function) -> Any:
        # A lambda can be written with any parameters; its locals are the arguments by name.
        source = f"lambda {function.parameters}: respond(locals(), outputs, updates)"
        names = {"respond": lambda *given: respond(*given), "updates": function.updates}
        python = eval(source, names | {"outputs": function.outputs})
        built = tf.function(python, autograph=False)
        for args, kwargs in function.traces:
            built.get_concrete_function(
                *tf.nest.map_structure(to_spec, args), **tf.nest.map_structure(to_spec, kwargs)
            )
        return built

    def to_spec(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return tf.TensorSpec(value.shape, tf.as_dtype(value.dtype))
        return value

    def build_signature(signature: Signature) -> Any:
        specs = {
            name: tf.TensorSpec([None, *value.shape[1:]], tf.as_dtype(value.dtype), name=name)
            for name, value in signature.inputs.items()
        }
        built = tf.function(
            lambda **inputs: respond(inputs, signature.outputs, signature.updates),
            autograph=False,
        )
        return built.get_concrete_function(**specs)

    functions = [build_function(function) for function in graph.functions]

    def build(node: Node, target: tf.Module | None = None) -> Any:
        match node:
            case Leaf("variable", index):
                return variables[index % len(variables)]
            case Leaf("function", index):
                return functions[index % len(functions)]
            case Leaf("root"):
                return root
            case Module(children):
                module = target or tf.Module()
                for name, child in children.items():
                    setattr(module, name, build(child))
                return module
            case dict():
                return {name: build(child) for name, child in node.items()}
        return type(node)(build(child) for child in node)

    build(graph.root, root)
    root.all_variables, root.all_functions = variables, functions
    signatures = {name: build_signature(s) for name, s in graph.signatures.items()}
    tf.saved_model.save(root, path, signatures=signatures or None)
