"""The object graph of a SavedModel as Python sees it."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from savedmodel import _native
from savedmodel.errors import DataLossError

if TYPE_CHECKING:
    import numpy.typing as npt

    from savedmodel.model import Model

__all__ = ["Asset", "ObjectGraph", "TrackableObject", "gradients"]

# A list may have elements that were not saved, but a SavedModel in which it is longer than this
# and a hundred times its saved elements is broken.
_MAX_LIST = 1_000


class Asset(NamedTuple):
    """A file that was saved with the model."""

    asset_path: str

    def __fspath__(self) -> str:
        """The file's absolute path."""
        return self.asset_path


class TrackableObject:
    """A module, layer, table or other object of the model.

    Its children are attributes and items: `layer.kernel` is `layer["kernel"]`. Lists, dicts and
    tuples that were saved are Python's own; constants are read-only arrays. An object that was
    saved with a `__call__` function is callable. The same object is the same Python object
    wherever it is reached from.
    """

    __slots__ = ("__weakref__", "_children", "_graph", "_native")

    def __init__(self, graph: ObjectGraph, native: _native.Object) -> None:
        self._graph = graph
        self._native = native
        self._children = dict(native.children())

    def __getattr__(self, name: str) -> Any:
        if name in TrackableObject.__slots__:  # of one that is being copied
            raise AttributeError(name)
        if name in self._children:
            return self._graph.wrap(self._children[name])
        raise AttributeError(self._missing(name))

    def __getitem__(self, name: str) -> Any:
        if name in self._children:
            return self._graph.wrap(self._children[name])
        raise KeyError(self._missing(name))

    def __contains__(self, name: object) -> bool:
        return name in self._children

    def __iter__(self) -> Iterator[str]:
        return iter(self._children)

    def __dir__(self) -> list[str]:
        return sorted({*object.__dir__(self), *self._children})

    def __repr__(self) -> str:
        children = ", ".join(self._children)
        return f"<savedmodel.TrackableObject '{self._native.path}': {children}>"

    def _missing(self, name: object) -> str:
        path = self._native.path
        where = f"object '{path}'" if path else "the model"
        return f"{where} has no child {name!r}; children: {', '.join(self._children) or 'none'}"


class _CallableObject(TrackableObject):
    __slots__ = ()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._graph.wrap(self._children["__call__"])(*args, **kwargs)


class ObjectGraph:
    """Makes Python objects of native ones, each once. The root is the model."""

    def __init__(self, model: Model, native: _native.NativeModel) -> None:
        self._lock = threading.RLock()
        self._made: dict[int, Any] = {}
        # What the holder of the lock is making: seen by others when all of it is complete.
        self._pending: dict[int, Any] = {}
        self._variables: dict[_native.Variable, _native.Variable] = {}
        self._model = weakref.ref(model)  # which holds this
        self.root: TrackableObject = self._object(native.root())

    def _object(self, native: _native.Object) -> TrackableObject:
        has_call = any(name == "__call__" for name, _ in native.children())
        return (_CallableObject if has_call else TrackableObject)(self, native)

    def wrap(self, native: _native.Object) -> Any:
        """The Python object for a node of the graph."""
        if native.id == 0:
            model = self._model()
            return self._object(native) if model is None else model
        if native.id in self._made:
            return self._made[native.id]
        with self._lock:
            for made in (self._made, self._pending):
                if native.id in made:
                    return made[native.id]
            outermost = not self._pending
            try:
                self._make(native)
                if outermost:
                    self._made.update(self._pending)
                return self._pending[native.id]
            except RecursionError:
                raise DataLossError(f"object '{native.path}' is nested too deep") from None
            finally:
                if outermost:
                    self._pending.clear()

    def forget(self) -> None:
        """Breaks the cycles of what was made.

        They would outlive the model until a collection.
        """
        self._made.clear()
        self._variables.clear()
        del self.root

    def unique(self, variable: _native.Variable) -> _native.Variable:
        """The one Python object for a variable."""
        with self._lock:
            return self._variables.setdefault(variable, variable)

    def _make(self, native: _native.Object) -> None:
        made: Any
        match native.kind:
            case "list":
                made = self._pending[native.id] = []  # first: it may hold itself
                made += self._elements(native)
            case "dict":
                made = self._pending[native.id] = {}
                made.update((name, self.wrap(child)) for name, child in native.children())
            case "tuple":
                self._pending[native.id] = ()  # a tuple that holds itself ends here
                made = tuple(self._elements(native))
            case "function":
                made = native.function()
            case "concrete_function":
                made = native.concrete_function()
            case "variable":
                made = self.unique(native.variable())
            case "constant":
                made = native.constant()
            case "asset":
                made = Asset(native.asset_path())
            case _:
                made = self._object(native)
        self._pending[native.id] = made

    def _elements(self, native: _native.Object) -> list[Any]:
        # Elements that are no trackable objects were not saved; TensorFlow, too, loads None.
        elements: list[Any] = []
        children = native.children()
        longest = _MAX_LIST + 100 * len(children)
        for name, child in children:
            if not name.isdecimal() or len(name) > 9 or int(name) >= longest:
                raise DataLossError(
                    f"object '{native.path}' is a list with an element {name[:100]!r}"
                )
            index = int(name)
            elements += [None] * (index + 1 - len(elements))
            elements[index] = self.wrap(child)
        return elements


def gradients(
    function: _native.Function | _native.ConcreteFunction | TrackableObject | Model,
    inputs: Sequence[Any],
    variables: Sequence[_native.Variable],
    output_gradients: Any = None,
    kwargs: Mapping[str, Any] | None = None,
) -> list[npt.NDArray[Any]]:
    """Differentiates a function with respect to variables: one array for each, of its shape.

    TensorFlow's own C++ symbolic gradients do it; saved custom gradients are used.

    Args:
        function: a function of the model, or an object (or model) with a `__call__`.
        inputs: the positional arguments of the call that is differentiated. It is run: what it
            assigns is assigned.
        variables: of the same model, of a floating-point or complex dtype.
        output_gradients: the gradient with respect to each output, of its shape, in the
            structure that the function returns; None for ones, so that without any the result
            is the gradient of the outputs' sum. The gradient of a single output may stand by
            itself.
        kwargs: the keyword arguments of the call.

    A variable that the outputs do not depend on has zeros.

    Raises:
        UnimplementedError: an op on the way has no gradient in C++; it is named.
        ValueError, TypeError: arguments, variables or gradients that do not fit.
    """
    if not isinstance(function, _native.Function | _native.ConcreteFunction):
        if not callable(function) or not hasattr(function, "__getitem__"):
            raise TypeError(
                f"function: expected a function of a model, got a {type(function).__name__}"
            )
        return gradients(function["__call__"], inputs, variables, output_gradients, kwargs)
    return function.gradients(list(inputs), list(variables), output_gradients, dict(kwargs or {}))
