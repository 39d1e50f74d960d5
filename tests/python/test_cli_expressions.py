"""The evaluator of `--input_exprs`: what it allows is NumPy's answer, all else is refused."""

from __future__ import annotations

import ast
import math
import re
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from savedmodel.cli import expressions
from savedmodel.cli.expressions import ExpressionError, evaluate

ALLOWED = """
5 | 2
1
-2.5e3
1j
'a;b'
b'\\x00\\xff'
True
None
[1, [2, 3.5]]
(1,)
{'age': [22]}
"a" "b"
1 + 2 * 3 - 4 / 5 // 6 % 7 ** 2
1 << 4 >> 2 & 3
5 ^ 2
~7
not 1
2 ** 100
2 ** -1
1 < 2
'a' != 'b'
[0] * 3 + [1]
'ab' * 2
2 * (1, 2)
[1, 2, 3][1:]
'abc'[-1]
np.ones((32,32,3))
numpy.zeros([2, 3])
np.ones(3, dtype=np.float32)
np.ones(3, 'int8')
np.full((2, 2), 7)
np.full((2,), 'x')
np.full(2, 0.5, dtype=float)
np.eye(2, 3)
np.eye(2, M=4)
np.identity(3)
np.arange(5)
np.arange(2, 9, 3)
np.arange(0, 1, step=0.25)
np.arange(-3)
np.arange(5, dtype=np.uint8)
np.linspace(0, 1, 5)
np.linspace(0, 1, num=3)
np.logspace(0, 2, 3)
np.array([[1, 2], [3, 4]], dtype=np.float64)
np.array(['a', 'bc'])
np.asarray((1, 2.0))
np.array([1, 2, 3])[::-1]
np.ones((2, 3))[..., 0]
np.ones(3)[np.newaxis]
np.ones(3)[None, :]
np.ones((2, 3)).T
np.arange(6).reshape(2, 3)
np.arange(6).reshape((3, -1))
np.ones(2).astype(int)
np.ones((2, 2)).flatten()
np.float32(3)
np.int64([1, 2])
np.pi
-np.inf
[np.nan]
np.e
np.arange(6).reshape(2, 3) / 255.0
1 - np.ones(2)
np.ones((2, 1)) + np.ones((1, 3))
np.ones(2) == 1
np.exp(np.zeros(2))
np.sin(0.5)
np.sqrt([4.0])
np.maximum([1, 5], 3)
np.power(2, [1, 2])
np.where([True, False], 1, 2)
np.clip([1, 5, 9], 2, 6)
np.round([1.26], 1)
np.log(0.0)
np.concatenate([[1, 2], [3]])
np.stack([np.ones(2), np.zeros(2)], axis=1)
np.vstack(([1], [2]))
np.tile([1, 2], (2, 2))
np.repeat([1, 2], 3)
np.repeat([[1, 2]], [1, 2], axis=1)
np.transpose(np.ones((1, 2, 3)), (2, 0, 1))
np.expand_dims([1, 2], 0)
np.squeeze([[1]])
np.moveaxis(np.ones((1, 2, 3)), -1, 0)
np.broadcast_to([1, 2], (3, 2))
np.flip([1, 2])
np.sum([[1, 2]], axis=1)
np.mean([1, 2])
np.max([3, 4])
np.cumsum([1, 2])
np.zeros((2, 0))
np.tile([], 3)
np.zeros_like([1, 2])
np.array([1]) * [2, 3]
np.array(['a'])[0] + 'b'
"""


@pytest.mark.parametrize("expression", ALLOWED.strip().splitlines())
def test_allowed(expression: str) -> None:
    with np.errstate(all="ignore"):
        expected = eval(expression, {"np": np, "numpy": np})
    value = evaluate(f" {expression} ")
    np.testing.assert_equal(value, expected)
    assert type(value) is type(expected) or isinstance(expected, np.str_)
    assert getattr(value, "dtype", None) == getattr(expected, "dtype", None) or isinstance(
        expected, np.str_
    )


@pytest.mark.parametrize(
    ("expression", "shape", "dtype"),
    [
        ("np.random.rand(2, 3)", (2, 3), "float64"),
        ("np.random.rand(1, 3).astype(np.float32)", (1, 3), "float32"),
        ("np.random.randn(4)", (4,), "float64"),
        ("np.random.random((2, 2))", (2, 2), "float64"),
        ("np.random.random(size=2)", (2,), "float64"),
        ("np.random.normal(0, 1, size=(2,))", (2,), "float64"),
        ("np.random.uniform(-1, 1, (3, 1))", (3, 1), "float64"),
        ("np.random.randint(10, size=(2, 5))", (2, 5), "int64"),
        ("np.random.randint(0, 255, (2, 2), dtype=np.uint8)", (2, 2), "uint8"),
    ],
)
def test_random(expression: str, shape: tuple[int, ...], dtype: str) -> None:
    value = evaluate(expression)
    assert value.shape == shape
    assert value.dtype == dtype


def test_literals_are_those_of_python() -> None:
    """What `saved_model_cli` reads by ast.literal_eval is the same here."""
    for text in ("[[1,2],[3,4]]", "'it\\'s'", "[b'a', 'ü']", "-1+2j", "((1,), [], {})", "1_000"):
        assert evaluate(text) == ast.literal_eval(text)


ESCAPES = [
    "__import__('os').system('true')",
    "().__class__.__bases__[0].__subclasses__()",
    "''.__class__.__mro__",
    "np.__builtins__",
    "np.ones.__globals__",
    "np.ones(3).__class__",
    "np.ones(3).__array_interface__",
    "np.ones(3).data",
    "np.ones(3).ctypes",
    "np.ones(3).tofile('/tmp/x')",
    "np.ones(3).dump('/tmp/x')",
    "np.ones(3).base",
    "np.float32.__name__",
    "np.e.real",
    "np.load('/etc/passwd')",
    "np.loadtxt('/etc/passwd')",
    "np.fromfile('/etc/passwd')",
    "np.memmap('/etc/passwd')",
    "np.save('/tmp/x', 1)",
    "np.genfromtxt('/etc/passwd')",
    "np.random.seed.__self__",
    "np.random.__dict__",
    "np.core.multiarray.zeros(3)",
    "np.lib.format.open_memmap('/tmp/x')",
    "np.testing.rundocs('/tmp/x')",
    "np.f2py.compile('')",
    "np.vectorize(print)(1)",
    "np.frompyfunc(print, 1, 1)",
    "np.apply_along_axis(print, 0, [1])",
    "np.fromiter([1], int)",
    "np.einsum('i->i', [1])",
    "np.dtype('O')",
    "np.array([1], dtype=object)",
    "np.array([1], dtype='O')",
    "np.array([1], 'object')",
    "np.ones(2).astype('O')",
    "np.ones(2).astype([('a', 'O')])",
    "np.array([None])",
    "np.array([{}])",
    "np.array({})",
    "np.array([np.float32])",
    "np.ones(2, dtype=[('a', 'f4')])",
    "np.zeros(2, 'S100000000')",
    "np.zeros(2, 'U9')",
    "np.zeros(2, 'V9')",
    "np.zeros(2, order='F')",
    "np.array([1], copy=False)",
    "np.add(1, 2, out=np.ones(1))",
    "np.sum([1], 0, None, np.ones(1))",
    "np.where([1])",
    "(lambda: 1)()",
    "[x for x in [1]]",
    "{x: 1 for x in [1]}",
    "(x for x in [1])",
    "f'{1}'",
    "(x := 1)",
    "1 if True else 2",
    "1 and 2",
    "1 < 2 < 3",
    "1 in [1]",
    "1 is 1",
    "{1, 2}",
    "...",
    "{**{}}",
    "[*[1]]",
    "np.ones(*[3])",
    "np.ones(**{'shape': 3})",
    "np",
    "np.ones",
    "np.random",
    "numpy.random.rand",
    "os",
    "print(1)",
    "eval('1')",
    "open('/etc/passwd')",
    "int('1')",
    "'a'.join(['b'])",
    "'{0.__class__}'.format(1)",
    "'%s' % 1",
    "b'%d' % 1",
    "[1].append(2)",
    "{}['a']",
    "np.ones(3)[[0, 1]]",
    "np.ones(3)['a']",
    "np.ones((2, 3)) @ np.ones(3)",
    "await x",
    "(yield)",
    "import os",
    "x = 1",
    "1; 2",
    "1\n2",
    "",
    "\x00",
    "\ud800",
]


@pytest.mark.parametrize("expression", ESCAPES)
def test_escapes_are_refused(expression: str) -> None:
    with pytest.raises(ExpressionError) as error:
        evaluate(expression)
    assert str(error.value)


HUGE = [
    "9**9**9**9",
    "(-2)**10**9",
    "10**10**10",
    "1 << 10**12",
    "1 << 1 << 99999",
    "2**4000 * 2**4000",
    "'a' * 10**12",
    "10**12 * b'a'",
    "[0] * 10**12",
    "((0,) * 10**5,) * 10**6",
    "[[[0] * 10**4] * 10**4] * 10**4",
    "[0] * np.int64(10**12)",
    "'a' * np.int32(2 * 10**9)",
    "np.array([10**10])[0] * [0]",
    "np.array(['a' * 1000])[0] * 10**9",
    "np.array([b'a' * 1000])[0] * 10**9",
    "np.ones(10**10)",
    "np.ones((10**5, 10**5))",
    "np.ones([10**300] * 60)",
    "np.ones([2] * 10**5)",
    "np.ones(np.full(60, 2))",
    "np.zeros(shape=10**10)",
    "np.full((10**5, 10**5), 1)",
    "np.full(10**4, 'a' * 10**6)",
    "np.array(['a' * 10**7] * 100)",
    "np.array([b'a' * 10**7, 'b'] + ['c'] * 100)",
    "np.arange(10**18)",
    "np.arange(1e18)",
    "np.arange(0, 1, 1e-300)",
    "np.arange(0, 1, step=1e-12)",
    "np.arange(3, stop=10**12)",
    "np.arange(np.inf)",
    "np.linspace(0, 1, 10**12)",
    "np.linspace(0, 1, num=10**12)",
    "np.linspace(np.zeros((10**4, 1)), np.ones(10**4))",
    "np.logspace(0, 1, 10**4, base=np.ones(10**6))",
    "np.eye(10**6)",
    "np.eye(2, 10**12)",
    "np.eye(2, M=10**12)",
    "np.identity(10**6)",
    "np.random.rand(10**6, 10**6)",
    "np.random.randn(10**6, 10**6)",
    "np.random.random(size=10**12)",
    "np.random.normal(0, 1, 10**12)",
    "np.random.normal(size=(10**6, 10**6))",
    "np.random.normal(np.zeros((10**5, 1)), np.ones(10**5))",
    "np.random.uniform(low=np.zeros((10**5, 1)), high=np.ones(10**5))",
    "np.random.randint(low=np.zeros((10**5, 1)), high=np.ones(10**5))",
    "np.random.randint(9, size=10**12)",
    "np.ones((10**5, 1)) + np.ones((1, 10**5))",
    "np.ones((10**5, 1)) < np.ones((1, 10**5))",
    "np.ones((10**5, 1)) ** [[1] * 10**5]",
    "np.add(np.ones((10**5, 1)), np.ones(10**5))",
    "np.where(np.ones((10**5, 1)), np.ones(10**5), 0)",
    "np.clip(np.ones((10**5, 1)), np.ones(10**5), 2)",
    "np.repeat([1], 10**12)",
    "np.repeat([1, 2], [10**12, 1])",
    "np.repeat([1, 2], np.array([10**12, 1]))",
    "np.repeat([1], repeats=10**12)",
    "np.tile([1], 10**12)",
    "np.tile([1], (10**6, 10**6))",
    "np.tile([1], reps=[10**12])",
    "np.tile(['a' * 10**6], 10**4)",
    "np.broadcast_to(1, (10**6, 10**6))",
    "np.concatenate([np.ones(10**6)] * 10**5)",
    "np.stack([np.ones(10**6)] * 10**5)",
    "np.stack([np.ones(1)] * 10**7)",
    "np.vstack([[1]] * 10**8)",
    "np.concatenate([np.ones(10**7), ['a']])",
    "np.str_(np.ones(10**7))",
    "np.ones(10**7).astype(str)",
    "np.array(np.ones(10**7), dtype=np.str_)",
    "np.array(np.ones(10**7), 'bytes_')",
    "np.add(['a'] * 10**5, 'b' * 10**5)",
    "np.array([10**1000])",
    "np.array([10**1000, 1], dtype='str')",
    "np.power([10**1000], [10**9])",
    "np.prod([10**1000] * 10**6)",
    "np.int64(5) ** 10**30",
    "np.array(10**7) * ['a' * 10**6, None]",
    "np.multiply(['a' * 10**6, None], 10**7)",
    "np.expand_dims(1, [0] * 10**6)",
    "np.sum([1], [0] * 10**6)",
    "np.array([1], ndmin=10**9)",
    "(" * 10**5,
    "[" * 5000 + "]" * 5000,
    "-" * 10**5 + "1",
    "not " * 10**4 + "1",
    "1" + "+1" * 10**5,
    "1" + "**1" * 10**5,
    "np" + ".a" * 10**5,
    "[0]" + "[0]" * 10**5,
    "np.abs(" * 200 + "1" + ")" * 200,
    "'" + "a" * (1 << 21) + "'",
    "9" * 10**5,
    "0x" + "f" * 10**5,
]


@pytest.mark.parametrize("expression", HUGE, ids=lambda expression: expression[:60])
def test_huge_values_are_refused_before_they_are_made(expression: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ExpressionError):
            evaluate(expression)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3 * expressions.MAX_BYTES


def test_all_that_is_made_is_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expressions, "_MAX_TOTAL", 1 << 20)
    assert len(evaluate("[" + "np.ones(10**4)," * 6 + "]")) == 6
    with pytest.raises(ExpressionError, match="on the way"):
        evaluate("[" + "np.ones(10**4)," * 7 + "]")


def test_messages_say_what_is_wrong() -> None:
    for expression, message in {
        "np.onse(3)": r"a call of 'np\.onse' \(meant: 'np\.ones'\?\) is not allowed: expressions",
        "np.ones(3).tofile('x')": "a call of the method 'tofile' is not allowed",
        "np.ones(3, order='F')": r"the argument 'order' of 'np\.ones' is not allowed",
        "np.ones((10**6, 10**6))": r"it could take more than 1,073,741,824 bytes.* give a file",
        "1 +": "not a Python expression: invalid syntax",
        "np.ones(3) + np.ones(2)": "could not be broadcast together",
        "1 / 0": "division by zero",
    }.items():
        with pytest.raises(ExpressionError, match=message):
            evaluate(expression)


# {a}: an array, {s}: a shape, {n}: a number, {x}: an axis, {d}: a dtype.
TEMPLATES = """
np.ones({s})
np.zeros({s}, {d})
np.full({s}, {a})
np.full({s}, {n}, dtype={d})
np.eye({n})
np.eye({n}, {n})
np.eye({n}, M={n})
np.identity({n})
np.arange({n})
np.arange({n}, {n}, {n})
np.arange({n}, step={n}, dtype={d})
np.linspace({a}, {a}, {n})
np.linspace({n}, {a}, num={n})
np.logspace({n}, {a}, {n}, base={a})
np.array({a}, {d})
np.array({a}, dtype={d}, ndmin={n})
np.array([{a}, {a}])
np.array(({n}, {n}))
np.array([{a}] * {n})
np.full_like({a}, {n})
np.ones_like({a}, dtype={d})
np.random.rand({n}, {n})
np.random.random({s})
np.random.random(size={s})
np.random.normal({a}, {n})
np.random.normal(loc={a}, scale={a})
np.random.normal(size={s})
np.random.uniform({n}, {a}, {s})
np.random.randint({a}, size={s})
np.random.randint(low=0, high={a})
np.broadcast_to({a}, {s})
np.concatenate([{a}, {a}], axis={x})
np.concatenate([{a}] * {n})
np.stack([{a}] * {n}, {x})
np.hstack([{a}, {a}])
np.vstack([{a}] * {n})
np.expand_dims({a}, {x})
np.expand_dims({a}, {s})
np.repeat({a}, {n})
np.repeat({a}, {s}, axis={x})
np.repeat({a}, {a})
np.tile({a}, {n})
np.tile({a}, {s})
np.reshape({a}, {s})
np.transpose({a})
np.where({a}, {a}, {a})
np.where({a})
np.clip({a}, {a}, {n})
np.round({a}, {n})
np.cumsum({a}, {x})
np.prod({a}, axis={x}, keepdims=True)
np.std({a}, {x})
np.exp({a})
np.power({a}, {a})
np.add({a}, {a})
np.minimum({a}, {n})
np.str_({a})
np.float32({a})
np.bytes_({a})
{a}.astype({d})
{a}.reshape({s})
{a}.flatten()
{a}.T
{a}[0]
{a}[None, 1:]
{a}[..., None]
[{a}, {a}]
[{a}] * {n}
({a},) * {n} + ({n},)
({a} + {a})
({a} * {a})
({a} * {n})
({n} * {a})
({a} ** {n})
({n} ** {n})
({n} << {n})
({a} / {a})
({a} < {a})
({a} == {n})
-{a}
~{a}
'abc' * {n}
'abc' * {a}
[0] * {a}
""".strip().splitlines()

NUMBERS = st.sampled_from(
    ["0", "1", "2", "3", "-1", "40", "300", "70000", "10**9", "2**70", "10**40", "0.5", "np.inf"]
)
SHAPES = st.lists(NUMBERS, max_size=4).map(lambda sizes: f"[{', '.join(sizes)}]") | NUMBERS
PARTS = {
    "n": NUMBERS,
    "s": SHAPES,
    "x": st.sampled_from(["0", "1", "-1", "None", "(0, 1)", "9"]),
    "d": st.sampled_from(["int", "np.float32", "np.str_", "'bytes_'", "'uint8'", "bool", "'U9'"]),
}
ARRAYS = st.sampled_from(
    """
    np.ones((3, 4))
    np.arange(5)
    np.ones((400, 1))
    np.ones((1, 400))
    np.array(['x', 'yz'])
    np.array(['abcd'])[0]
    np.array(b'a')
    np.int64(70000)
    np.zeros(0)
    np.eye(2) * 1j
    np.array([True])
    ['a', 'b'] * 300
    [[1, 2], [3, 4.5]]
    [1, 'a', None]
    {'a': [1]}
    'abc' * 300
    """.strip().splitlines()
).map(str.strip)


def filled(template: str, arrays: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """A template with its gaps filled."""
    gaps = [PARTS.get(gap, arrays) for gap in re.findall("{(.)}", template)]
    text = re.sub("{.}", "{}", template)
    return st.tuples(*gaps).map(lambda parts: text.format(*parts))


EXPRESSIONS = st.recursive(
    ARRAYS,
    lambda arrays: st.sampled_from(TEMPLATES).flatmap(lambda each: filled(each, arrays)),
    max_leaves=6,
)


# A reproducible search; without shrinking, which would try the costly ones again and again.
@settings(
    max_examples=1000,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(EXPRESSIONS)
def test_any_expression_gives_a_bounded_value_or_is_refused(expression: str) -> None:
    limits = expressions.MAX_BYTES, expressions._MAX_TOTAL
    expressions.MAX_BYTES = 1 << 20
    expressions._MAX_TOTAL = 4 << 20
    tracemalloc.start()
    try:
        value = evaluate(expression)
    except ExpressionError:
        value = None
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        expressions.MAX_BYTES, expressions._MAX_TOTAL = limits
    assert peak < 8 << 20, expression
    assert is_plain(value), expression


def is_plain(value: Any) -> bool:
    """Is this a value of the kinds that expressions may have?"""
    if isinstance(value, (list, tuple)):
        return all(is_plain(one) for one in {id(one): one for one in value}.values())
    if isinstance(value, dict):
        return all(map(is_plain, value.values()))
    if isinstance(value, (np.ndarray, np.generic)):
        return value.dtype.kind in "biufcSU" and math.prod(value.shape) == value.size
    return value is None or isinstance(value, (bool, int, float, complex, str, bytes, np.dtype))
