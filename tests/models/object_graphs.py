"""Models whose object graph matters: structure, functions, tables, variables of every kind.

generate.py saves them and records the steps (steps.py).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from guide import randomize
from steps import Pair, Recordings

MODELS = Recordings()

v1 = tf.compat.v1


class Layer(tf.Module):
    """y = x w + b"""

    def __init__(self, w: float, b: float = 0.0) -> None:
        super().__init__()
        self.w = tf.Variable([[w, 1.0], [0.5, -w]], name="w")
        self.b = tf.Variable([b, -b], name="b", trainable=False)

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32)])
    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        return x @ self.w + self.b


@MODELS.steps(
    "isinstance(model.layers, list)",
    "isinstance(model.named, dict)",
    "[len(model.layers), len(model.named), len(model.pair), len(model.empty)]",
    "[layer.w for layer in model.layers]",
    "model.layers[-1](constant([[1.0, 2.0]]))",
    "[layer.b.trainable for layer in model.layers]",
    "sorted(model.named)",
    "model.named['a']",
    "sorted(model.named['deep'])",
    "model.named['deep']['list'][1][0]",
    "[model.pair[0], model.pair[1].w]",
    "model.names",
    "model.outer.inner.innermost.w",
    "model.outer.inner.innermost(constant([[3.0, 4.0], [5.0, 6.0]]))",
    "{'layers', 'named', 'pair', 'outer', 'empty'} <= set(dir(model))",
    "{'w', 'b'} <= set(dir(model.outer.inner.innermost))",
    "hasattr(model, 'lost')",
    "model.lost",
    "model.layers[7]",
    "model.named['no such key']",
    "variables(model)",
    "model.call_all(constant([[1.0, 2.0]]))",
    "assign(model.layers[0].w, constant([[1.0, 0.0], [0.0, 1.0]]))",
    "model.call_all(constant([[1.0, 2.0]]))",
    "model.signatures['serving_default'](constant([[1.0, 2.0]]))",
)
def containers(path: str) -> None:
    """Lists, dicts, tuples and modules inside each other."""
    root = tf.Module()
    root.layers = [Layer(1.0), Layer(2.0, 0.5), Layer(3.0)]
    root.named = {
        "a": tf.Variable(1, dtype=tf.int64),
        "deep": {"list": [tf.Variable(2.0), [tf.Variable(b"three")]], "layer": Layer(4.0)},
    }
    root.pair = (tf.Variable([True, False]), Layer(5.0))
    root.empty = []
    root.lost = 3  # TensorFlow saves no Python numbers.
    root.outer = tf.Module()
    root.outer.inner = tf.Module()
    root.outer.inner.innermost = Layer(6.0, 7.0)

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, name="x")])
    def call_all(x: tf.Tensor) -> tf.Tensor:
        for layer in root.layers:
            x = layer(x)
        return x

    root.call_all = call_all
    tf.saved_model.save(root, path, signatures=call_all)


@MODELS.steps(
    "model.a is model.b",
    "model.a is model.c",
    "model.layers[0] is model.a",
    "model.layers[0].w is model.w",
    "model.layers[1] is model.layers[0]",
    "model.pair[0] is model.pair[1]",
    "model.list is model.same_list",
    "variables(model)",
    "assign(model.w, constant([[0.0, 0.0], [0.0, 0.0]]))",
    "[model.a.w, model.layers[0].w, model.c.w]",
    "model.b(constant([[1.0, 1.0]]))",
)
def shared_nodes(path: str) -> None:
    """One object under several names stays one object."""
    root = tf.Module()
    root.a = root.b = Layer(1.0, 2.0)
    root.c = Layer(1.0, 2.0)
    root.w = root.a.w
    root.layers = [root.a, root.a, root.c]
    root.pair = (root.w, root.w)
    root.list = [root.w]
    root.same_list = root.list
    tf.saved_model.save(root, path)


@MODELS.steps(
    "model.self_ref is model",
    "model.child.parent is model",
    "model.child.parent.child is model.child",
    "model.ring[0].ring is model.ring",
    "model.self_ref.self_ref.child.v",
    "model.f(constant(2.0))",
    "variables(model)",
)
def cycles(path: str) -> None:
    """Objects that contain themselves."""
    root = tf.Module()
    root.self_ref = root
    root.child = tf.Module()
    root.child.parent = root
    root.child.v = tf.Variable(3.0)
    member = tf.Module()
    root.ring = [member]
    member.ring = root.ring
    root.f = tf.function(
        lambda x: x * root.child.v, input_signature=[tf.TensorSpec([], tf.float32)]
    )
    tf.saved_model.save(root, path)


@MODELS.steps(
    # Structured arguments: by position, by name, and with the structure wrong.
    "model.nested({'a': constant(1.0), 'b': [constant(2), (constant(3.0), None)]})",
    "model.nested(tree={'b': [constant(2), (constant(3.0), None)], 'a': constant(1.0)})",
    "model.nested({'a': constant(1.0), 'b': [constant(2), (constant(3.0), constant(4.0))]})",
    "model.nested({'a': constant(1.0), 'b': [constant(2), [constant(3.0), None]]})",
    "model.nested({'a': constant(1.0)})",
    "model.nested({'a': constant(1.0), 'b': [constant(2)], 'c': constant(0)})",
    "model.nested(constant(1.0))",
    # Structured outputs.
    "model.outputs(constant([1.0, 2.0]))",
    "model.returns_nothing(constant(1.0))",
    "model.returns_namedtuple(constant(1.0))",
    "model.returns_empty(constant(1.0))",
    "model.takes_namedtuple(Pair(constant(1.0), [constant(2.0)]))",
    "model.takes_namedtuple((constant(1.0), [constant(2.0)]))",
    "model.no_arguments()",
    "model.no_arguments(constant(1.0))",
    # Variable numbers of arguments.
    "model.varargs(constant(1.0), constant(2.0), constant(3.0))",
    "model.varargs(constant(1.0))",
    "model.varargs(constant(1.0), constant(2.0))",
    "model.kwargs(constant(1.0), a=constant(2.0), b=constant(3.0))",
    "model.kwargs(constant(1.0), b=constant(3.0), a=constant(2.0))",
    "model.kwargs(constant(1.0))",
    "model.kwargs(constant(1.0), a=constant(2.0), c=constant(3.0))",
    "model.keyword_only(constant(1.0), scale=constant(2.0))",
    "model.keyword_only(constant(1.0), scale=constant(2.0), negate=True)",
    "model.keyword_only(constant(1.0), constant(2.0))",
    "model.keyword_only(constant(1.0))",
    # Python values are compared as Python does: 1 == True == 1.0.
    "model.literals(constant(1.0), 3, 'three', True, None, 2.5)",
    "model.literals(constant(1.0), 4, 'four', False, None, -2.5)",
    "model.literals(constant(1.0), 3.0, 'three', 1, None, 2.5)",
    "model.literals(constant(1.0), 3, 'four', True, None, 2.5)",
    "model.literals(constant(1.0), 3, 'three', True, 0, 2.5)",
    "model.literals(constant(1.0), mode='three', count=3, flag=True, nothing=None, ratio=2.5)",
    "model.structured_literals(constant(1.0), {'axis': (0, 1), 'name': 'sum'})",
    "model.structured_literals(constant(1.0), {'axis': (0, 2), 'name': 'sum'})",
    # Python values where a tensor is expected.
    "model.nested({'a': 1.0, 'b': [2, (3.0, None)]})",
    "model.typed(2.0, 3, b'x')",
    "model.typed(2, 3, 'x')",
    "model.typed([2.0], 3, 'x')",
    "model.typed(2.0, 3.5, 'x')",
    # Defaults that are tensors are part of the model.
    "model.defaults()",
    "model.defaults(constant(5.0))",
    "model.defaults(y=3)",
    # Concrete functions, one by one.
    "[f.structured_input_signature for f in model.literals.concrete_functions]",
    "[f.structured_outputs for f in model.outputs.concrete_functions]",
    "[f.structured_input_signature for f in model.nested.concrete_functions]",
    "model.typed.concrete_functions[0](constant(2.0), constant(3), constant(b'x'))",
    "model.typed.concrete_functions[0](x=constant(2.0), n=constant(3), s=constant(b'x'))",
)
def functions(path: str) -> None:
    """Arguments and results of every structure that TensorFlow saves."""
    root = tf.Module()
    root.v = tf.Variable(2.0)
    scalar = tf.TensorSpec([], tf.float32)

    @tf.function
    def nested(tree: dict[str, Any]) -> Any:
        number, (x, nothing) = tree["b"]
        assert nothing is None
        return tree["a"] + tf.cast(number, tf.float32) * x * root.v

    @tf.function
    def outputs(x: tf.Tensor) -> Any:
        return {
            "list": [x, [x + 1.0, None]],
            "tuple": (tf.size(x), {"z": x * root.v, "a": tf.constant(b"bytes")}),
            "one": (x[0],),
            "none": None,
        }

    @tf.function
    def returns_nothing(x: tf.Tensor) -> None:
        root.v.assign(root.v + 0.0 * x)

    @tf.function
    def returns_namedtuple(x: tf.Tensor) -> Pair:
        return Pair(x, [x + 1.0])

    @tf.function
    def returns_empty(x: tf.Tensor) -> Any:
        return {"empty": [], "tuple": ()}

    @tf.function
    def takes_namedtuple(pair: Pair) -> tf.Tensor:
        return pair.first - pair.second[0]

    @tf.function
    def no_arguments() -> tf.Tensor:
        return root.v * 3.0

    @tf.function
    def varargs(x: tf.Tensor, *rest: tf.Tensor) -> Any:
        return [x, *rest]

    @tf.function
    def kwargs(x: tf.Tensor, **named: tf.Tensor) -> Any:
        return {"x": x, **{key + "!": value for key, value in named.items()}}

    @tf.function
    def keyword_only(x: tf.Tensor, *, scale: tf.Tensor, negate: bool = False) -> tf.Tensor:
        return -x * scale if negate else x * scale

    @tf.function
    def literals(
        x: tf.Tensor, count: int, mode: str, flag: bool, nothing: None, ratio: float
    ) -> tf.Tensor:
        return x * count * ratio if flag else x + count + ratio

    @tf.function
    def structured_literals(x: tf.Tensor, options: dict[str, Any]) -> tf.Tensor:
        return x + float(sum(options["axis"]))

    @tf.function(
        input_signature=[
            scalar,
            tf.TensorSpec([], tf.int32),
            tf.TensorSpec([], tf.string),
        ]
    )
    def typed(x: tf.Tensor, n: tf.Tensor, s: tf.Tensor) -> Any:
        return [x * 2.0, n + 1, tf.strings.join([s, s])]

    @tf.function
    def defaults(x: Any = 1.5, y: int = 2) -> tf.Tensor:
        return tf.convert_to_tensor(x) * y * root.v

    nested({"a": tf.constant(1.0), "b": [tf.constant(2), (tf.constant(3.0), None)]})
    outputs.get_concrete_function(tf.TensorSpec([None], tf.float32))
    for function in (returns_nothing, returns_namedtuple, returns_empty):
        function.get_concrete_function(scalar)
    takes_namedtuple.get_concrete_function(Pair(scalar, [scalar]))
    no_arguments()
    varargs.get_concrete_function(scalar, scalar, scalar)
    varargs.get_concrete_function(scalar)
    kwargs.get_concrete_function(scalar, a=scalar, b=scalar)
    kwargs.get_concrete_function(scalar)
    keyword_only.get_concrete_function(scalar, scale=scalar)
    keyword_only.get_concrete_function(scalar, scale=scalar, negate=True)
    literals.get_concrete_function(scalar, 3, "three", True, None, 2.5)
    literals.get_concrete_function(scalar, 4, "four", False, None, -2.5)
    structured_literals.get_concrete_function(scalar, {"axis": (0, 1), "name": "sum"})
    defaults()
    defaults(tf.constant(1.0))
    for function in (
        *(nested, outputs, returns_nothing, returns_namedtuple, returns_empty, no_arguments),
        *(varargs, kwargs, keyword_only, literals, structured_literals, typed, defaults),
        takes_namedtuple,
    ):
        setattr(root, function.python_function.__name__, function)
    tf.saved_model.save(root, path)


@MODELS.steps(
    "model.sparse(sparse([[0, 1], [2, 0]], [3.0, 4.0], [3, 2]))",
    "model.sparse(x=sparse([[1, 1]], [5.0], [2, 2]))",
    "model.sparse(constant([[1.0, 2.0]]))",
    "model.sparse(sparse([[1, 1]], [5], [2, 2]))",
    "model.ragged(ragged([1.0, 2.0, 3.0], [0, 1, 1, 3]))",
    "model.ragged(ragged([1, 2], [0, 2]))",
    "model.mixed({'s': sparse([[0]], [2.0], [4]), 'r': ragged([7.0], [0, 0, 1])}, True)",
    "model.sum_of_sparse(sparse([[0, 1], [2, 0]], [3.0, 4.0], [3, 2]))",
)
def composites(path: str) -> None:
    """Sparse and ragged tensors, in and out."""
    root = tf.Module()
    sparse_spec = tf.SparseTensorSpec([None, 2], tf.float32)
    ragged_spec = tf.RaggedTensorSpec([None, None], tf.float32)

    @tf.function(input_signature=[sparse_spec])
    def sparse(x: tf.SparseTensor) -> Any:
        return tf.sparse.map_values(tf.square, x)

    @tf.function(input_signature=[ragged_spec])
    def ragged(x: tf.RaggedTensor) -> Any:
        return {"ragged": x * 2.0, "rows": tf.reduce_sum(x, axis=1)}

    @tf.function
    def mixed(x: dict[str, Any], flag: bool) -> Any:
        return (x["s"], [x["r"], tf.constant(flag)])

    @tf.function(input_signature=[sparse_spec])
    def sum_of_sparse(x: tf.SparseTensor) -> tf.Tensor:
        return tf.sparse.reduce_sum(x)

    mixed.get_concrete_function(
        {"s": tf.SparseTensorSpec([None], tf.float32), "r": ragged_spec}, flag=True
    )
    root.sparse, root.ragged, root.mixed = sparse, ragged, mixed
    root.sum_of_sparse = sum_of_sparse
    tf.saved_model.save(root, path)


@MODELS.steps(
    "model.find(constant([b'two', b'four', b'one']))",
    "model.names(constant([1, 0, 5], 'int64'))",
    "model.get(constant([b'a', b'b']))",
    "model.put(constant([b'b', b'c']), constant([2.5, 3.5]))",
    "model.get(constant([b'a', b'b', b'c']))",
    "model.count()",
    "model.text()",
    "model.signatures['find'](constant([b'one', b'zero']))",
    "model.signatures['get'](constant([b'c', b'a']))",
)
def tables_and_assets(path: str) -> None:
    """Static tables from constants and files, a mutable table, and an asset that is read."""
    folder = Path(path).parent / "sources"
    folder.mkdir()
    (folder / "vocabulary.txt").write_bytes(b"zero\none\ntwo\n")
    (folder / "text.txt").write_bytes(b"an asset\x00")
    root = tf.Module()
    lookup = tf.lookup
    root.static = lookup.StaticHashTable(
        lookup.KeyValueTensorInitializer([b"one", b"two"], tf.constant([1, 2], tf.int64)), -1
    )
    root.vocabulary = lookup.StaticHashTable(
        lookup.TextFileInitializer(
            str(folder / "vocabulary.txt"),
            *(tf.int64, lookup.TextFileIndex.LINE_NUMBER),
            *(tf.string, lookup.TextFileIndex.WHOLE_LINE),
        ),
        b"?",
    )
    root.mutable = lookup.experimental.MutableHashTable(tf.string, tf.float32, 0.5)
    root.mutable.insert([b"a"], [1.5])
    root.asset = tf.saved_model.Asset(str(folder / "text.txt"))
    words = tf.TensorSpec([None], tf.string, name="words")

    @tf.function(input_signature=[words])
    def find(words: tf.Tensor) -> tf.Tensor:
        return root.static.lookup(words)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int64)])
    def names(numbers: tf.Tensor) -> tf.Tensor:
        return root.vocabulary.lookup(numbers)

    @tf.function(input_signature=[words, tf.TensorSpec([None], tf.float32)])
    def put(words: tf.Tensor, values: tf.Tensor) -> None:
        root.mutable.insert(words, values)

    @tf.function(input_signature=[words])
    def get(words: tf.Tensor) -> tf.Tensor:
        return root.mutable.lookup(words)

    @tf.function(input_signature=[])
    def count() -> tf.Tensor:
        return root.mutable.size()

    @tf.function(input_signature=[])
    def text() -> tf.Tensor:
        return tf.io.read_file(root.asset)

    root.find, root.names, root.put, root.get, root.count = find, names, put, get, count
    root.text = text
    tf.saved_model.save(root, path, signatures={"find": find, "get": get})


@MODELS.steps(
    "model.read(model.v)",
    "model.add(model.v, constant(2.0))",
    "model.add(model.w, constant(3.0))",
    "[model.v, model.w]",
    "model.read(constant(1.0))",
)
def variable_arguments(path: str) -> None:
    """Functions of variables load, though TensorFlow itself finds no match for a call."""
    root = tf.Module()
    root.v, root.w = tf.Variable(1.0), tf.Variable(10.0)
    root.read = tf.function(lambda variable: variable * 3.0)
    root.add = tf.function(lambda variable, by: variable.assign_add(by))
    root.read(root.v)
    root.add(root.v, tf.constant(0.0))
    tf.saved_model.save(root, path)


@MODELS.steps(
    "variables(model)",
    "model.half",
    "[model.add(constant(1, 'int64')), model.read(), model.count]",
    "model.signatures['add'](by=constant(10, 'int64'))",
    "[model.read(), model.count]",
    "assign(model.count, constant(100, 'int64'))",
    "[model.read(), model.signatures['read']()]",
    "model.captured_constant(constant([1.0, 2.0, 3.0]))",
    "model.grow(constant([[1.0, 2.0], [3.0, 4.0]]))",
    "model.rows",
    "model.grow(constant([[5.0, 6.0]]))",
    "assign(model.rows, constant([[9.0, 9.0]]))",
    "model.rows",
    "[model.rows.shape[1], model.rows.trainable]",
    "model.label",
    "assign(model.label, constant(b'changed\\x00'))",
    "model.relabel()",
    "model.label",
    "variables(model)",
)
def state(path: str) -> None:
    """Variables that functions, signatures and assignments all change; a captured constant."""
    root = tf.Module()
    root.count = tf.Variable(5, dtype=tf.int64, trainable=False, name="count")
    root.rows = tf.Variable(tf.zeros([0, 2]), shape=[None, 2], name="rows")
    root.label = tf.Variable(b"label", name="label")
    root.half = tf.Variable(tf.constant([1.5, 2.5], tf.bfloat16), name="half")
    weights = tf.constant([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])

    @tf.function(input_signature=[tf.TensorSpec([], tf.int64, name="by")])
    def add(by: tf.Tensor) -> tf.Tensor:
        return root.count.assign_add(by)

    @tf.function(input_signature=[])
    def read() -> tf.Tensor:
        return root.count.read_value()

    @tf.function(input_signature=[tf.TensorSpec([3], tf.float32)])
    def captured_constant(x: tf.Tensor) -> tf.Tensor:
        return tf.linalg.matvec(weights, x, transpose_a=True)

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32)])
    def grow(rows: tf.Tensor) -> tf.Tensor:
        return tf.shape(root.rows.assign(tf.concat([root.rows, rows], 0)))[0]

    @tf.function(input_signature=[])
    def relabel() -> tf.Tensor:
        return root.label.assign(tf.strings.join([root.label, "!"]))

    root.add, root.read, root.captured_constant = add, read, captured_constant
    root.grow, root.relabel = grow, relabel
    tf.saved_model.save(root, path, signatures={"add": add, "read": read})


@MODELS.steps(
    "model(constant([[1.0, 2.0]]))",
    "model(constant([[1.0, 2.0]]), training=True)",
    "model(constant([[1.0, 2.0]]), True)",
    "[v.name for v in model.variables]",
    "[v.name for v in model.trainable_variables]",
    "[loss() for loss in model.regularization_losses]",
    "model.variables[0] is model.trainable_variables[0]",
    "assign(model.variables[0], constant([[1.0], [0.0]]))",
    "[loss() for loss in model.regularization_losses]",
    "model(constant([[1.0, 2.0]]))",
    "gradients(model, [constant([[1.0, 2.0]])], model.trainable_variables)",
    "gradients(model, [constant([[1.0, 2.0], [0.5, 4.0]]), True], model.trainable_variables)",
)
def reusable(path: str) -> None:
    """TensorFlow's "reusable SavedModel" interface, as TensorFlow Hub's models have it."""
    root = tf.train.Checkpoint()
    kernel = tf.Variable([[0.5], [-0.25]], name="kernel")
    bias = tf.Variable([0.125], name="bias")
    steps = tf.Variable(0, trainable=False, name="steps")
    root.variables = [kernel, bias, steps]
    root.trainable_variables = [kernel, bias]

    @tf.function
    def call(x: tf.Tensor, training: bool = False) -> tf.Tensor:
        if training:
            steps.assign_add(1)
            x = 0.5 * x
        return tf.sigmoid(x @ kernel + bias)

    for training in (False, True):
        call.get_concrete_function(tf.TensorSpec([None, 2], tf.float32), training)
    root.__call__ = call
    root.regularization_losses = [
        tf.function(lambda: 0.01 * tf.nn.l2_loss(kernel), input_signature=[]),
        tf.function(lambda: tf.reduce_sum(tf.abs(bias)), input_signature=[]),
    ]
    tf.saved_model.save(root, path)


X = "constant([[1.0, 2.0, -1.0], [0.5, 0.0, 3.0]])"


@MODELS.steps(
    f"gradients(model.dense, [{X}], [model.v['kernel'], model.v['bias']])",
    f"gradients(model.dense, ({X},), [model.v['bias']], constant([[1.0], [-2.0]]))",
    f"gradients(model.softmax, [{X}, constant([0, 2], 'int64')],"
    " [model.v['square'], model.v['shift']])",
    "gradients(model.embed, [constant([1, 1, 0])], [model.v['square']])",
    f"gradients(model.nested, [{{'x': {X}}}, True], [model.v['kernel']])",
    f"gradients(model.outputs, [{X}], [model.v['kernel']],"
    f" {{'y': constant([[1.0], [0.5]]), 'z': {X}}})",
    f"gradients(model.outputs, [{X}], [model.v['kernel']])",
    "gradients(model.conv, [constant(np.arange(32.0).reshape(1, 4, 4, 2), 'float32')],"
    " [model.v['filter'], model.v['depthwise']])",
    "assign(model.v['bias'], constant([2.0]))",
    f"gradients(model.dense, [{X}], [model.v['kernel'], model.v['bias']])",
    f"gradients(model.signatures['dense'], [{X}], [model.v['kernel']])",
)
def differentiable(path: str) -> None:
    """Functions whose ops all have a gradient in TensorFlow's C++ library."""
    root = tf.Module()
    root.v = {
        "kernel": tf.Variable([[0.5], [-0.25], [1.0]], name="kernel"),
        "bias": tf.Variable([0.125], name="bias"),
        "square": tf.Variable([[1.0, 0.5, -1.0], [0.25, 2.0, 0.0], [0.5, 0.5, -0.5]]),
        "shift": tf.Variable([0.0, 1.0, -1.0], name="shift"),
        "filter": tf.Variable(tf.reshape(tf.range(36.0) / 36.0, [3, 3, 2, 2]), name="filter"),
        "depthwise": tf.Variable(tf.reshape(tf.range(8.0) / 8.0, [2, 2, 2, 1])),
    }
    v = root.v
    matrix = tf.TensorSpec([None, 3], tf.float32, name="x")

    @tf.function(input_signature=[matrix])
    def dense(x: tf.Tensor) -> tf.Tensor:
        return tf.tanh(tf.nn.bias_add(x @ v["kernel"], v["bias"]))

    @tf.function(input_signature=[matrix, tf.TensorSpec([None], tf.int64)])
    def softmax(x: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        logits = tf.nn.relu(x @ v["square"]) * 2.0 - v["shift"]
        chosen = tf.one_hot(labels, 3) * tf.nn.log_softmax(logits)
        return -tf.reduce_mean(tf.reduce_sum(chosen, axis=1))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32)])
    def embed(ids: tf.Tensor) -> tf.Tensor:
        return tf.square(tf.gather(v["square"].read_value(), ids))

    @tf.function
    def nested(inputs: dict[str, tf.Tensor], twice: bool) -> tf.Tensor:
        y = dense(inputs["x"])
        return dense(inputs["x"] * y) if twice else y

    @tf.function(input_signature=[matrix])
    def outputs(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"z": x * tf.transpose(v["kernel"]), "y": tf.exp(x @ v["kernel"])}

    @tf.function(input_signature=[tf.TensorSpec([None, 4, 4, 2], tf.float32)])
    def conv(image: tf.Tensor) -> tf.Tensor:
        y = tf.nn.relu6(tf.nn.conv2d(image / 32.0, v["filter"], strides=1, padding="SAME"))
        y = tf.nn.depthwise_conv2d(y, v["depthwise"], strides=[1, 1, 1, 1], padding="VALID")
        return tf.reduce_mean(tf.nn.max_pool2d(y, 2, 1, "VALID"), axis=[1, 2])

    nested.get_concrete_function({"x": matrix}, True)
    root.dense, root.softmax, root.embed, root.nested = dense, softmax, embed, nested
    root.outputs, root.conv = outputs, conv
    tf.saved_model.save(root, path, signatures={"dense": dense})


@MODELS.steps("model.f(constant([[0.1, 0.2], [0.3, 0.4]]))")
def not_differentiable(path: str) -> None:
    """A function with an op that has a gradient in TensorFlow's Python alone."""
    root = tf.Module()
    root.v = tf.Variable(2.0)
    root.f = tf.function(
        lambda x: tf.math.betainc(2.0, 3.0, root.v * x),
        input_signature=[tf.TensorSpec([2, 2], tf.float32)],
    )
    tf.saved_model.save(root, path)


@MODELS.steps("model.total()", "model.v")
def large(path: str) -> None:
    """Enough data for a disk to be full in the midst of it."""
    root = tf.Module()
    root.v = tf.Variable(tf.range(100_000, dtype=tf.float32))
    root.total = tf.function(lambda: tf.reduce_max(root.v), input_signature=[])
    tf.saved_model.save(root, path, signatures={"total": root.total})


def small_keras_model() -> keras.Model:
    """With weights of every kind: trained, moving, and a seed."""
    image = keras.Input([8, 8, 1], name="image")
    x = keras.layers.Conv2D(4, 3, use_bias=False)(image)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.ReLU()(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = keras.layers.Dropout(0.5)(x)
    return randomize(keras.Model(image, keras.layers.Dense(3, name="scores")(x)))


IMAGE = "constant(np.random.default_rng(1).uniform(-1, 1, (2, 8, 8, 1)), 'float32')"


@MODELS.steps(
    "list(model.signatures)",
    f"model.signatures['serving_default']({IMAGE})",
    f"model.serve({IMAGE})",
    "variables(model)",
    "len(model.trainable_variables)",
    "len(model.non_trainable_variables)",
    "[v.numpy().shape for v in model.variables]",
)
def keras_export(path: str) -> None:
    """The checkpoint holds each weight twice."""
    small_keras_model().export(path, verbose=False)


@MODELS.steps(f"gradients(model.serve, [{IMAGE}], model.trainable_variables)")
def keras_fine_tuned(path: str) -> None:
    """Gradients through convolution and batch normalization as Keras writes them."""
    keras_export(path)


@MODELS.steps(
    "list(model.signatures)",
    f"model.signatures['serving_default']({IMAGE})",
    "variables(model)",
)
def keras_saved(path: str) -> None:
    """The restore function fills other variables than those which the signature reads."""
    tf.saved_model.save(small_keras_model(), path)


@MODELS.steps(
    f"model.signatures['serving_default']({IMAGE})",
    f"model.predict({IMAGE})",
    f"model.predict_scaled({IMAGE})",
    "assign(model.scale, constant(3.0))",
    f"model.predict_scaled({IMAGE})",
)
def keras_in_module(path: str) -> None:
    """A `tf.Module` that holds a Keras model, and functions that call it."""
    root = tf.Module()
    root.keras_model = small_keras_model()
    root.scale = tf.Variable(2.0)
    spec = tf.TensorSpec([None, 8, 8, 1], tf.float32, name="image")

    @tf.function(input_signature=[spec])
    def predict(image: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"scores": root.keras_model(image, training=False)}

    @tf.function(input_signature=[spec])
    def predict_scaled(image: tf.Tensor) -> tf.Tensor:
        return predict(image)["scores"] * root.scale

    root.predict, root.predict_scaled = predict, predict_scaled
    tf.saved_model.save(root, path, signatures=predict)


def save_in_session(path: str, build: Any, use_resource: bool) -> None:
    """A TF1 model of one signature; `build` makes y of x in a fresh graph."""
    with tf.Graph().as_default(), v1.Session() as session:
        with v1.variable_scope("", use_resource=use_resource):
            x = v1.placeholder(tf.float32, [None, 2], name="x")
            y = build(x)
        session.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(session, path, {"x": x}, {"y": y})


@MODELS.steps(
    # TensorFlow's eager loader lists no such variables: the test does.
    "model.signatures['serving_default'](constant([[1.0, 2.0]]))",
    "model.signatures['serving_default'](constant([[1.0, 2.0]]))",
)
def tf1_reference_variables(path: str) -> None:
    """Variables that are written in place, one of which counts the calls."""

    def build(x: tf.Tensor) -> tf.Tensor:
        weights = v1.get_variable("weights", initializer=[[1.0, 2.0], [3.0, 4.0]])
        calls = v1.get_variable("calls", initializer=0.0, trainable=False)
        with tf.control_dependencies([v1.assign_add(calls, 1.0)]):
            return tf.matmul(x, weights) + calls.read_value()

    save_in_session(path, build, use_resource=False)


@MODELS.steps(
    "model.signatures['serving_default'](constant([[1.0, 2.0]]))",
    "variables(model)",
    "[assign(v, np.full(v.shape, 0.5, np.float32)) for v in model.variables]",
    "model.signatures['serving_default'](constant([[1.0, 2.0]]))",
)
def tf1_resource_variables(path: str) -> None:
    """TF1's later kind of variable."""

    def build(x: tf.Tensor) -> tf.Tensor:
        weights = v1.get_variable("layer/weights", initializer=[[1.0, 2.0], [3.0, 4.0]])
        return tf.matmul(x, weights)

    save_in_session(path, build, use_resource=True)


@MODELS.steps(
    "model.signatures['serving_default'](constant([[1.0, 0.0], [0.0, 1.0]]))",
)
def tf1_partitioned_variables(path: str) -> None:
    """One variable in three parts, saved as slices of one tensor."""

    def build(x: tf.Tensor) -> tf.Tensor:
        weights = v1.get_variable(
            "weights",
            shape=[2, 7],
            initializer=v1.random_normal_initializer(seed=3),
            partitioner=v1.fixed_size_partitioner(3, axis=1),
        )
        return tf.matmul(x, tf.convert_to_tensor(weights))

    save_in_session(path, build, use_resource=False)
