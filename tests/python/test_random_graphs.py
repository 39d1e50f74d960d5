"""Random object graphs, functions and signatures: this package does with each as TensorFlow does.

TensorFlow saves what hypothesis draws (tests/models/random_graphs.py), loads it, and takes the same
steps on it as this package.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

import savedmodel
from conftest import TensorFlow
from random_graphs import (
    Function,
    Graph,
    Leaf,
    Module,
    Node,
    Output,
    Signature,
    Variable,
    leaves,
)
from replay import assert_same, take

DTYPES = ("float16", "float32", "float64", "int32", "int64", "uint8", "bool", "object")

# Parameters as Python writes them, and how many are given by position and by which names.
PARAMETERS = (
    ("", 0, ()),
    ("a", 1, ()),
    ("a, b", 1, ("b",)),
    ("a, b=3", 1, ()),
    ("a, b=3", 1, ("b",)),
    ("a, *, training=False", 1, ()),
    ("a, *, training=False", 1, ("training",)),
    ("a, mode='sum', **options", 1, ("x", "y")),
    ("a, *rest", 3, ()),
    ("a=None, *rest, last=None, **options", 2, ("last", "z")),
)

indices = st.integers(0, 5)
names = st.sampled_from(("alpha", "beta", "w", "layer_1", "x", "Ünï"))
literals = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from((0.5, -2.0, 1e30)),
    st.sampled_from(("", "mean", "ñ")),
)


@st.composite
def arrays(draw: st.DrawFn, min_rank: int = 0) -> np.ndarray:
    """A tensor of any dtype, some of them empty."""
    dtype = draw(st.sampled_from(DTYPES))
    shape = draw(st.lists(st.integers(0, 3), min_size=min_rank, max_size=min_rank + 2))
    numbers = np.random.default_rng(draw(st.integers(0, 99))).integers(0, 50, shape)
    if dtype == "object":
        strings = [b"s\x00%d" % number for number in numbers.flat]
        array = np.empty(shape, object)
        array[...] = np.array([*strings, None], object)[:-1].reshape(shape)
        return array
    return np.asarray(numbers / 4 if dtype.startswith("float") else numbers % 5).astype(dtype)


def structures(leaf: st.SearchStrategy[Any], most: int = 6) -> st.SearchStrategy[Any]:
    """Lists, tuples and dicts of leaves."""
    return st.recursive(
        leaf,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.lists(inner, min_size=1, max_size=3).map(tuple),
            st.dictionaries(names, inner, min_size=1, max_size=3),
        ),
        max_leaves=most,
    )


outputs = st.builds(
    Output, st.sampled_from(("tensor", "mix", "read", "literals", "none")), indices, indices
)
tensor_outputs = st.builds(Output, st.sampled_from(("tensor", "mix", "read")), indices, indices)
arguments = structures(st.one_of(arrays(), literals), most=4)
updates = st.lists(indices, max_size=1)


@st.composite
def functions(draw: st.DrawFn) -> Function:
    """A function with one to three concrete functions, of other arguments each."""
    parameters, positional, keywords = draw(st.sampled_from(PARAMETERS))
    traces = draw(
        st.lists(
            st.tuples(
                st.tuples(*[arguments] * positional),
                st.fixed_dictionaries(dict.fromkeys(keywords, arguments)),
            ),
            min_size=1,
            max_size=3,
        )
    )
    return Function(parameters, traces, draw(structures(outputs)), draw(updates))


def modules(children: st.SearchStrategy[Node]) -> st.SearchStrategy[Module]:
    return st.builds(Module, st.dictionaries(names, children, min_size=1, max_size=3))


nodes: st.SearchStrategy[Node] = st.recursive(
    st.builds(Leaf, st.sampled_from(("variable", "variable", "function", "root")), indices),
    lambda inner: st.one_of(
        modules(inner),
        st.lists(inner, max_size=3),
        st.lists(inner, min_size=1, max_size=2).map(tuple),
        st.dictionaries(names, inner, max_size=2),
    ),
    max_leaves=8,
)

signatures = st.builds(
    Signature,
    st.dictionaries(st.sampled_from(("x", "y", "input_1")), arrays(min_rank=1), max_size=2),
    st.dictionaries(st.sampled_from(("out", "y", "scores")), tensor_outputs, min_size=1),
    updates,
)

graphs = st.builds(
    Graph,
    st.lists(st.builds(Variable, arrays(), st.booleans()), min_size=1, max_size=4),
    st.lists(functions(), min_size=1, max_size=3),
    modules(nodes),
    st.dictionaries(st.sampled_from(("serving_default", "other")), signatures, max_size=2),
)


def without_arrays(value: Any) -> Any:
    """The same structure with Python values in it."""
    if isinstance(value, dict):
        return {key: without_arrays(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(without_arrays(item) for item in value)
    return value.tolist() if isinstance(value, np.ndarray) else value


def steps_and_calls(graph: Graph) -> tuple[list[str], list[Any]]:
    """What to compare of a model, and the arguments that `calls[...]` in it stands for."""
    steps = ["variables(model)", "sorted(model.signatures)"]
    for path, node in leaves(graph.root):
        match node:
            case Leaf("variable", index):
                index %= len(graph.variables)
                steps += [path, f"{path} is model.all_variables[{index}]", f"{path}.trainable"]
            case Leaf("function", index):
                steps.append(f"len({path}.concrete_functions)")
            case Leaf("root"):
                steps.append(f"{path} is model")
            case Module(children):
                steps.append(f"{sorted(children)} == sorted({set(children)} & set(dir({path})))")
                steps.append(f"hasattr({path}, 'no_such_child')")
            case dict():
                steps.append(f"sorted({path})")
            case _:
                steps.append(f"len({path})")

    traces = [trace for function in graph.functions for trace in function.traces]
    # Python numbers and strings, too, where there were tensors: some can be converted.
    calls: list[Any] = [*traces, *map(without_arrays, traces)]
    # Every function with every call: most fit none of its concrete functions.
    for index in range(len(graph.functions)):
        function = f"model.all_functions[{index}]"
        steps += [f"call({function}, calls[{call}])" for call in range(len(calls))]
        steps.append(f"[f.structured_input_signature for f in {function}.concrete_functions]")
        steps.append(f"[f.structured_outputs for f in {function}.concrete_functions]")
    for name, signature in graph.signatures.items():
        steps.append(f"model.signatures[{name!r}].structured_input_signature")
        for rows in (1, 2):
            inputs = {key: np.repeat(value, rows, 0) for key, value in signature.inputs.items()}
            steps.append(f"call(model.signatures[{name!r}], calls[{len(calls)}])")
            calls.append(((), inputs))
    steps.append("variables(model)")
    return steps, calls


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("random")


@settings(
    derandomize=True,
    max_examples=30,
    deadline=None,
    # Each step of a shrink costs a model: the seed in the report is what one needs.
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(graph=graphs)
def test_random_graphs(graph: Graph, folder: Path, tensorflow: TensorFlow) -> None:
    path = Path(tempfile.mkdtemp(dir=folder), "saved_model")
    tensorflow.save(graph, path)
    steps, calls = steps_and_calls(graph)
    note(f"saved as {path}")
    expected = tensorflow.evaluate(path, steps, {"calls": calls})
    for optimize in ("none", "default"):
        with savedmodel.load(path, optimize=optimize) as model:
            for step, actual, theirs in zip(
                steps, take(model, steps, {"calls": calls}), expected, strict=True
            ):
                assert_same(actual, theirs, f"{step}, optimize={optimize!r}")
            again = path.with_name(f"saved again, {optimize}")
            model.save(again)
            final = take(model, ["variables(model)"])
        assert_same(tensorflow.evaluate(again, ["variables(model)"]), final, "what was saved")
