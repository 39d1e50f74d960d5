"""Evaluates the expressions of `--input_exprs`: Python literals and a list of NumPy functions.

Nothing is run that is not named here: an expression is parsed, and its syntax tree is walked. What
it may make is bounded before it is made: `9**9**9`, `np.ones((10**6, 10**6))` and
`[[0] * 10**6] * 10**6` are refused, not tried. Arrays of Python objects are refused, too: their
elements could grow without bound within NumPy.
"""

from __future__ import annotations

import ast
import difflib
import math
import operator
import warnings
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

if TYPE_CHECKING:
    import types

MAX_BYTES = 1 << 30  # Of an array, a string or a list.
_MAX_TOTAL = 4 * MAX_BYTES  # Of all that is made on the way.
_ITEM = 16  # Bytes of the largest number, complex128, and of an element of a list.
_NUMBER_AS_TEXT = 256  # Bytes, at most: NumPy gives a complex number 64 characters.
_OVERHEAD = 16  # Elements that a list or an array within a list counts as: its overhead.
_MAX_DIMENSIONS = 64  # NumPy's limit.
_MAX_BITS = 4096  # Of an integer.
_MAX_DEPTH = 100  # Of an expression within others.
_MAX_TEXT = 1 << 20  # Of an expression.


class ExpressionError(ValueError):
    """An expression that is wrong or not allowed; says what and why."""


def evaluate(text: str) -> Any:
    """Return the value of an expression: Python values, and arrays where it calls NumPy.

    Raises ExpressionError.
    """
    import numpy as np

    if len(text) > _MAX_TEXT:
        raise ExpressionError(f"longer than {_MAX_TEXT} characters")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text.strip(), mode="eval")
    except SyntaxError as error:
        raise ExpressionError(f"not a Python expression: {error.msg}") from None
    except (ValueError, MemoryError, RecursionError) as error:
        raise ExpressionError(f"cannot be parsed: {str(error) or type(error).__name__}") from None
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return _Evaluator(np).value(tree.body)
        except ExpressionError:
            raise
        except Exception as error:
            # Whatever NumPy raises, the expression asked for it.
            raise ExpressionError(str(error) or type(error).__name__) from None


class _Function(NamedTuple):
    """A NumPy function that may be called.

    `elements`: how many elements its result may have, at most, from its arguments. `keywords`: of
    its parameters, those that may be named. `positions`: how many arguments may be given by
    position; `dtype_at`: which of them is the dtype.
    """

    elements: Callable[..., int]
    keywords: frozenset[str]
    positions: int
    dtype_at: int | None = None


_SEQUENCES = (str, bytes, list, tuple)


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _product(sizes: Any) -> int:
    """Return the number of elements of a shape: an integer, or a sequence of them."""
    if isinstance(sizes, (list, tuple)):
        if len(sizes) > _MAX_DIMENSIONS:
            raise ExpressionError(f"a shape of more than {_MAX_DIMENSIONS} dimensions")
        return math.prod(max(0, operator.index(size)) for size in sizes)
    if getattr(sizes, "ndim", 0):
        return _product(sizes.tolist())
    return max(0, operator.index(sizes))


class _Size(NamedTuple):
    """What an array of some value would take: how many elements, and bytes of the largest."""

    elements: int
    item: int


def _size(value: Any) -> _Size:
    """Return the size of a value. Raises for what would become an array of Python objects."""
    if isinstance(value, (list, tuple)):
        # Lists made by multiplication hold one element many times.
        counts = Counter(map(id, value))
        elements = item = 0
        for key, element in dict(zip(map(id, value), value, strict=True)).items():
            size = _size(element)
            nested = isinstance(element, (list, tuple)) or getattr(element, "ndim", 0) > 0
            elements += counts[key] * (size.elements + (_OVERHEAD if nested else 0))
            item = max(item, size.item)
        return _Size(elements, item)
    if isinstance(value, (str, bytes)):
        return _Size(1, max(_NUMBER_AS_TEXT, 4 * len(value)))
    if isinstance(value, (bool, float, complex)):
        return _Size(1, 0)
    if isinstance(value, int):
        if value.bit_length() > 64:
            raise ExpressionError("an integer of more than 64 bits in an array")
        return _Size(1, 0)
    dtype = getattr(value, "dtype", None)
    if dtype is None or dtype.kind == "O":
        raise ExpressionError(f"a {type(value).__name__} in an array is not allowed")
    # Numbers beside text become text.
    text = dtype.kind in "SU"
    return _Size(value.size, max(_NUMBER_AS_TEXT, 4 * dtype.itemsize) if text else dtype.itemsize)


def _broadcast(*values: Any, **keywords: Any) -> int:
    """Return the elements of what the arguments broadcast to, at most."""
    import numpy as np

    shapes = [np.shape(value) for value in (*values, *keywords.values()) if value is not None]
    rank = max(map(len, shapes), default=0)
    padded = [(1,) * (rank - len(shape)) + shape for shape in shapes]
    return math.prod(max(sizes) for sizes in zip(*padded, strict=True))


def _first(array: Any, *_: Any, **__: Any) -> int:
    return _size(array).elements


def _along(array: Any, axis: Any = None, *_: Any, **__: Any) -> int:
    if isinstance(axis, (list, tuple)) and len(axis) > _MAX_DIMENSIONS:
        raise ExpressionError(f"more than {_MAX_DIMENSIONS} axes")
    return _size(array).elements


def _shaped(shape: Any = None, *_: Any, size: Any = None, **__: Any) -> int:
    return _product(next((given for given in (shape, size) if given is not None), ()))


def _range(*bounds: Any, step: Any = 1, **_: Any) -> int:
    start, stop, by = (0, *bounds, step) if len(bounds) == 1 else (*bounds, step)[:3]
    count: int = math.ceil((stop - start) / by)
    return max(0, count)


def _spaced(start: Any, stop: Any, num: Any = 50, *_: Any, base: Any = 1, **__: Any) -> int:
    return _broadcast(start, stop, base) * operator.index(num)


def _square(rows: Any, columns: Any = None, *_: Any, **keywords: Any) -> int:
    columns = keywords.get("M", columns)
    return _product(rows) * _product(rows if columns is None else columns)


def _tiled(array: Any, reps: Any) -> int:
    return _size(array).elements * _product(reps)


def _repeated(array: Any, repeats: Any, axis: Any = None) -> int:
    import numpy as np

    del axis
    return _size(array).elements * int(np.max(repeats, initial=0))


def _sized(*parameters: Any, size: Any = None, dtype: Any = None, **named: Any) -> int:
    """Of random numbers with two parameters, a size, and a dtype."""
    del dtype
    if len(parameters) > 2:
        size = parameters[2]
    return max(1 if size is None else _product(size), _broadcast(*parameters[:2], **named))


def _dimensions(*sizes: Any) -> int:
    return _product(sizes)


def _chosen(*values: Any) -> int:
    # With a condition alone, NumPy makes an array of indices for each dimension.
    if len(values) != 3:
        raise ExpressionError("np.where takes a condition and two values")
    return _broadcast(*values)


_NONE = frozenset[str]()
_DTYPE = _names("dtype")
_AXIS = _names("axis")

_FUNCTIONS = {
    "arange": _Function(_range, _names("step dtype"), 4, 3),
    "array": _Function(_first, _names("dtype ndmin"), 2, 1),
    "asarray": _Function(_first, _DTYPE, 2, 1),
    "eye": _Function(_square, _names("M k dtype"), 4, 3),
    "full": _Function(_shaped, _names("shape fill_value dtype"), 3, 2),
    "full_like": _Function(_first, _DTYPE, 3, 2),
    "identity": _Function(_square, _DTYPE, 2, 1),
    "linspace": _Function(_spaced, _names("start stop num endpoint dtype"), 4),
    "logspace": _Function(_spaced, _names("num base dtype"), 3),
    "ones": _Function(_shaped, _names("shape dtype"), 2, 1),
    "ones_like": _Function(_first, _DTYPE, 2, 1),
    "zeros": _Function(_shaped, _names("shape dtype"), 2, 1),
    "zeros_like": _Function(_first, _DTYPE, 2, 1),
    "random.normal": _Function(_sized, _names("loc scale size"), 3),
    "random.rand": _Function(_dimensions, _NONE, _MAX_DIMENSIONS),
    "random.randint": _Function(_sized, _names("low high size dtype"), 4, 3),
    "random.randn": _Function(_dimensions, _NONE, _MAX_DIMENSIONS),
    "random.random": _Function(_shaped, _names("size"), 1),
    "random.random_sample": _Function(_shaped, _names("size"), 1),
    "random.standard_normal": _Function(_shaped, _names("size"), 1),
    "random.uniform": _Function(_sized, _names("low high size"), 3),
    "broadcast_to": _Function(lambda _, shape: _product(shape), _names("shape"), 2),
    "concatenate": _Function(_along, _AXIS, 2),
    "expand_dims": _Function(_along, _AXIS, 2),
    "flip": _Function(_along, _AXIS, 2),
    "hstack": _Function(_first, _NONE, 1),
    "moveaxis": _Function(_first, _NONE, 3),
    "ravel": _Function(_first, _NONE, 1),
    "repeat": _Function(_repeated, _names("repeats axis"), 3),
    "reshape": _Function(_first, _names("shape"), 2),
    "squeeze": _Function(_along, _AXIS, 2),
    "stack": _Function(_along, _AXIS, 2),
    "swapaxes": _Function(_first, _NONE, 3),
    "tile": _Function(_tiled, _names("reps"), 2),
    "transpose": _Function(_first, _names("axes"), 2),
    "vstack": _Function(_first, _NONE, 1),
    "where": _Function(_chosen, _NONE, 3),
    "clip": _Function(_broadcast, _NONE, 3),
    "round": _Function(_broadcast, _names("decimals"), 2),
    "cumsum": _Function(_along, _names("axis dtype"), 2),
    **{
        name: _Function(_along, _names("axis keepdims dtype"), 2)
        for name in _names("mean prod std sum var")
    },
    **{name: _Function(_along, _names("axis keepdims"), 2) for name in _names("max min")},
    **{
        name: _Function(_broadcast, _NONE, 1)
        for name in _names(
            "abs absolute arccos arcsin arctan ceil cos cosh exp expm1 floor log log10 log1p log2 "
            "logical_not negative reciprocal rint sign sin sinh sqrt square tan tanh"
        )
    },
    **{
        name: _Function(_broadcast, _NONE, 2)
        for name in _names(
            "add arctan2 divide equal greater greater_equal less less_equal logical_and logical_or "
            "maximum minimum mod multiply not_equal power subtract"
        )
    },
}

# Of arrays; the result has as many elements.
_METHODS = _names("astype flatten ravel reshape squeeze transpose")

_DTYPES = _names(
    "bool bool_ int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64 "
    "complex64 complex128 half single double int_ str_ bytes_"
)
_BUILTIN_DTYPES = {"bool": bool, "int": int, "float": float, "complex": complex, "str": str}
_CONSTANTS = _names("pi e inf nan newaxis")

_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.LShift: operator.lshift,
    ast.RShift: operator.rshift,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
    ast.BitXor: operator.xor,
}
_UNARY_OPERATORS: dict[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
    ast.Invert: operator.invert,
    ast.Not: operator.not_,
}
_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


def _refuse(what: str) -> NoReturn:
    raise ExpressionError(
        f"{what} is not allowed: expressions are made of literals, arithmetic, indices and some of "
        "NumPy's functions"
    )


class _Evaluator:
    def __init__(self, numpy: types.ModuleType) -> None:
        self._np = numpy
        self._depth = 0
        self._bytes = 0  # of all that was made

    def value(self, node: ast.expr) -> Any:
        """Return the value of a node. Raises what NumPy and Python raise, and ExpressionError."""
        visit = getattr(self, f"_{type(node).__name__.lower()}", None)
        if visit is None:
            _refuse(f"'{ast.unparse(node)[:40]}'")
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise ExpressionError(f"nested deeper than {_MAX_DEPTH} levels")
        try:
            return self._checked(visit(node))
        finally:
            self._depth -= 1

    def _checked(self, value: Any) -> Any:
        """Return a value, if it may go on."""
        if isinstance(value, int) and value.bit_length() > _MAX_BITS:
            raise ExpressionError(f"an integer of more than {_MAX_BITS} bits")
        # NumPy's scalars of text repeat, as Python's do, when they are multiplied.
        return value.item() if isinstance(value, (self._np.str_, self._np.bytes_)) else value

    def _bounded(self, elements: int, item: int = 0) -> None:
        """Raise if so many elements, of so many bytes, are too many."""
        size = elements * max(_ITEM, item)
        self._bytes += max(0, size)
        if size > MAX_BYTES or self._bytes > _MAX_TOTAL:
            raise ExpressionError(
                f"it could take more than {MAX_BYTES:,} bytes, or four times that on the way: "
                "give a file instead"
            )

    def _bounded_all(self, values: Iterable[Any]) -> int:
        """Raise if one of these is too large for an array; return the bytes of one item of each."""
        items = 0
        for value in values:
            if isinstance(value, self._np.dtype):
                items += _NUMBER_AS_TEXT if value.kind in "SU" else 0
            elif value is not None:
                elements, item = _size(value)
                items += item
                if isinstance(value, (list, tuple)):
                    self._bounded(elements, item)
        return items

    def _constant(self, node: ast.Constant) -> Any:
        if node.value is ...:
            _refuse("'...'")
        return node.value

    def _list(self, node: ast.List) -> list[Any]:
        return [self.value(element) for element in node.elts]

    def _tuple(self, node: ast.Tuple) -> tuple[Any, ...]:
        return tuple(self.value(element) for element in node.elts)

    def _dict(self, node: ast.Dict) -> dict[Any, Any]:
        if any(key is None for key in node.keys):
            _refuse("'**'")
        keys = [self.value(key) for key in node.keys if key is not None]
        return dict(zip(keys, map(self.value, node.values), strict=True))

    def _unaryop(self, node: ast.UnaryOp) -> Any:
        return _UNARY_OPERATORS[type(node.op)](self.value(node.operand))

    def _binop(self, node: ast.BinOp) -> Any:
        apply = _OPERATORS.get(type(node.op))
        if apply is None:
            _refuse(f"the operator {type(node.op).__name__}")
        left, right = self.value(node.left), self.value(node.right)
        left, right = self._operands(left, right)
        if self._is_array(left) or self._is_array(right):
            item = self._bounded_all((left, right))
            self._bounded(_broadcast(left, right), item)
        else:
            self._check_operands(type(node.op), left, right)
        return apply(left, right)

    def _operands(self, left: Any, right: Any) -> tuple[Any, Any]:
        """Return two operands, of which a NumPy scalar beside a list or text is one of Python.

        NumPy's repeats the list.
        """
        for scalar, other in ((left, right), (right, left)):
            if isinstance(scalar, self._np.generic) and isinstance(other, _SEQUENCES):
                plain = scalar.item()
                return (plain, right) if scalar is left else (left, plain)
        return left, right

    def _check_operands(self, op: type[ast.operator], left: Any, right: Any) -> None:
        """Raise for Python values that would make something huge."""
        sequences = [value for value in (left, right) if isinstance(value, _SEQUENCES)]
        if sequences and op is ast.Mult:
            times = right if sequences[0] is left else left
            self._bounded(self._length(sequences[0]) * operator.index(times))
        elif sequences and op is ast.Add:
            self._bounded(sum(map(self._length, sequences)))
        elif sequences:
            _refuse(f"the operator {op.__name__} on a {type(sequences[0]).__name__}")
        elif isinstance(left, int) and isinstance(right, int):
            bits = left.bit_length()
            if (op is ast.Pow and bits * right > _MAX_BITS and abs(left) > 1) or (
                op is ast.LShift and bits + right > _MAX_BITS
            ):
                raise ExpressionError(f"an integer of more than {_MAX_BITS} bits")

    @staticmethod
    def _length(value: Any) -> int:
        return len(value) if isinstance(value, (str, bytes)) else _size(value).elements

    def _compare(self, node: ast.Compare) -> Any:
        compare = _COMPARISONS.get(type(node.ops[0]))
        if len(node.ops) != 1 or compare is None:
            _refuse(
                "a chain of comparisons"
                if compare
                else f"the operator {type(node.ops[0]).__name__}"
            )
        left, right = self.value(node.left), self.value(node.comparators[0])
        left, right = self._operands(left, right)
        if self._is_array(left) or self._is_array(right):
            self._bounded_all((left, right))
            self._bounded(_broadcast(left, right))
        return compare(left, right)

    def _subscript(self, node: ast.Subscript) -> Any:
        value = self.value(node.value)
        if not (self._is_array(value) or isinstance(value, _SEQUENCES)):
            _refuse(f"an index of a {type(value).__name__}")
        return value[self._index(node.slice)]

    def _index(self, node: ast.expr) -> Any:
        """Return a basic index: what it gives is never larger than what it is taken of."""
        if isinstance(node, ast.Slice):
            parts = (node.lower, node.upper, node.step)
            return slice(*(None if part is None else self.value(part) for part in parts))
        if isinstance(node, ast.Tuple):
            return tuple(map(self._index, node.elts))
        if isinstance(node, ast.Constant) and node.value is ...:
            return ...
        index = self.value(node)
        return None if index is None else operator.index(index)

    def _name(self, node: ast.Name) -> Any:
        if node.id in _BUILTIN_DTYPES:
            return self._np.dtype(_BUILTIN_DTYPES[node.id])
        _refuse(f"the name '{node.id}'")

    def _attribute(self, node: ast.Attribute) -> Any:
        name = self._numpy_name(node)
        if name is None:
            value = self.value(node.value)
            if node.attr == "T" and self._is_array(value):
                return value.T
            _refuse(f"the attribute '{node.attr}'")
        if name in _CONSTANTS:
            return getattr(self._np, name)
        if name in _DTYPES:
            return self._np.dtype(getattr(self._np, name))
        _refuse(f"'np.{name}'")

    def _numpy_name(self, node: ast.expr) -> str | None:
        """Return "random.rand" of np.random.rand; None for what does not begin with np."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if isinstance(node, ast.Name) and node.id in ("np", "numpy"):
            return ".".join(reversed(parts))
        return None

    def _call(self, node: ast.Call) -> Any:
        if any(isinstance(argument, ast.Starred) for argument in node.args) or any(
            keyword.arg is None for keyword in node.keywords
        ):
            _refuse("'*' in a call")
        name = self._numpy_name(node.func)
        if name is None and not isinstance(node.func, ast.Attribute):
            _refuse(f"a call of {ast.unparse(node.func)[:40]}")
        arguments = [self.value(argument) for argument in node.args]
        keywords = {str(keyword.arg): self.value(keyword.value) for keyword in node.keywords}
        if name is None:
            assert isinstance(node.func, ast.Attribute)
            return self._call_method(node.func, arguments, keywords)
        if name in _DTYPES:
            if len(arguments) != 1 or keywords:
                _refuse(f"'np.{name}' of anything but one value")
            (argument,) = arguments
            dtype = self._np.dtype(getattr(self._np, name))
            self._bounded(_size(argument).elements, self._bounded_all((argument, dtype)))
            return self._np.asarray(argument, dtype)[()]
        function = _FUNCTIONS.get(name)
        if function is None:
            nearest = difflib.get_close_matches(name, _FUNCTIONS, 1)
            meant = f" (meant: 'np.{nearest[0]}'?)" if nearest else ""
            _refuse(f"a call of 'np.{name}'{meant}")
        if unknown := sorted(str(key) for key in keywords if key not in function.keywords):
            _refuse(f"the argument '{unknown[0]}' of 'np.{name}'")
        if len(arguments) > function.positions:
            _refuse(f"argument {function.positions + 1} of 'np.{name}'")
        if function.dtype_at is not None and len(arguments) > function.dtype_at:
            self._check_dtype(arguments[function.dtype_at])
        self._check_dtype(keywords.get("dtype"))
        item = self._bounded_all((*arguments, *keywords.values()))
        self._bounded(function.elements(*arguments, **keywords), item)
        return operator.attrgetter(name)(self._np)(*arguments, **keywords)

    def _call_method(
        self, method: ast.Attribute, arguments: list[Any], keywords: dict[str, Any]
    ) -> Any:
        if method.attr not in _METHODS:
            _refuse(f"a call of the method '{method.attr}'")
        array = self.value(method.value)
        if not self._is_array(array):
            _refuse(f"the method '{method.attr}' of a {type(array).__name__}")
        if method.attr == "astype":
            if len(arguments) + len(keywords) != 1 or keywords.keys() - _DTYPE:
                _refuse("'astype' of anything but a dtype")
            dtype = keywords.get("dtype", *arguments)
            self._check_dtype(dtype)
            self._bounded(array.size, self._bounded_all((array, dtype)))
        elif keywords:
            _refuse(f"a named argument of '{method.attr}'")
        else:
            self._bounded(array.size, array.itemsize)
        return getattr(array, method.attr)(*arguments, **keywords)

    def _check_dtype(self, dtype: Any) -> None:
        """Allow None and the dtypes by their names: "U1000000000" is one, too."""
        if isinstance(dtype, str):
            if dtype not in _DTYPES | _BUILTIN_DTYPES.keys():
                _refuse(f"the dtype '{dtype[:40]}'")
        elif dtype is not None and not isinstance(dtype, self._np.dtype):
            _refuse(f"a {type(dtype).__name__} as dtype")

    def _is_array(self, value: Any) -> bool:
        return isinstance(value, (self._np.ndarray, self._np.generic))
