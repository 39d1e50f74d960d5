"""`load` and `Model`: a SavedModel as Python sees it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

from savedmodel import _native, archive
from savedmodel.errors import InvalidArgumentError, UnknownSignatureError
from savedmodel.object_graph import ObjectGraph
from savedmodel.specs import CopyStats, Fingerprint, LoadReport, OptimizeReport

if TYPE_CHECKING:
    from types import TracebackType

    import numpy.typing as npt

    Array = npt.NDArray[Any]
    SessionOptionsLike = _native.SessionOptions | bytes | Any | None
    RunOptionsLike = _native.RunOptions | bytes | Any | None

__all__ = ["Model", "Signatures", "copy_stats", "load", "set_log_level"]

_LOG_LEVELS = ("info", "warning", "error", "fatal")


class Signatures(Mapping[str, _native.Signature]):
    """The signatures of a model by name, sorted; read-only."""

    def __init__(self, native: _native.NativeModel) -> None:
        self._native = native
        self._names = native.signature_names()
        self._made: dict[str, _native.Signature] = {}

    def __getitem__(self, name: str) -> _native.Signature:
        signature = self._made.get(name)
        if signature is None:
            if not isinstance(name, str):
                raise TypeError(f"a signature's name is a str, got a {type(name).__name__}")
            try:
                signature = self._made.setdefault(name, self._native.signature(name))
            except InvalidArgumentError as error:
                raise UnknownSignatureError(str(error)) from None
        return signature

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __repr__(self) -> str:
        return f"Signatures({self._names})"


class Model:
    """A loaded SavedModel. Made by `savedmodel.load`.

    The object that was saved is reached through attributes and items, as `tf.saved_model.load`
    gives it: `model.v`, `model["layers"][0].kernel`, `model.f(x, training=False)`, `model(x)`. See
    TrackableObject for what they are.

    Any number of threads may use it at once. It is a context manager that closes the model, and
    it can be pickled: the receiver loads the same path with the same options, and raises
    FailedPreconditionError if the fingerprint there is another.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        tags: Iterable[str] | str | None = None,
        session_options: SessionOptionsLike = None,
        run_options: RunOptionsLike = None,
        version: int | None = None,
        signatures: Iterable[str] | str | None = None,
        optimize: str = "default",
        warmup: bool = False,
        verify: bool = False,
    ) -> None:
        """See `savedmodel.load`."""
        if tags is not None and not isinstance(tags, str):
            tags = sorted(tags)
        if signatures is not None and not isinstance(signatures, str):
            signatures = sorted(signatures)
        self._chosen_signatures = signatures
        self._archive = archive.unpack(path)
        folder = os.fspath(path) if self._archive is None else self._archive.folder
        self._native = _native.NativeModel(
            folder,
            tags,
            session_options,
            run_options,
            version,
            signatures,
            optimize,
            warmup,
            verify,
        )
        self._optimize = optimize
        self._version = version
        self._signatures = Signatures(self._native)
        self._objects = ObjectGraph(self, self._native)

    @property
    def signatures(self) -> Signatures:
        """The signatures by name. An unknown name raises UnknownSignatureError, a KeyError."""
        return self._signatures

    @property
    def path(self) -> str:
        """The SavedModel directory; with its version, where there was a choice.

        Of an archive, the temporary folder that it was unpacked into.
        """
        return self._native.bundle.export_dir

    @property
    def tags(self) -> frozenset[str]:
        """The tag set of the loaded MetaGraph."""
        return frozenset(self._native.bundle.tags)

    @property
    def fingerprint(self) -> Fingerprint | None:
        """What `fingerprint.pb` says; None if the SavedModel has none."""
        fingerprint: Fingerprint | None = self._native.fingerprint
        return fingerprint

    @property
    def assets(self) -> dict[str, str]:
        """Asset file name -> absolute path."""
        return self._native.assets

    @property
    def extra_assets(self) -> list[str]:
        """Paths of the files under `assets.extra/`."""
        return self._native.extra_assets

    @property
    def devices(self) -> list[_native.DeviceAttributes]:
        """The devices of the model's session."""
        return self.session.list_devices()

    @property
    def load_report(self) -> LoadReport:
        """Seconds and bytes read from disk by phase, and what was repaired and left unread."""
        return self._native.load_report

    @property
    def bundle(self) -> _native.SavedModelBundle:
        """The C++ SavedModelBundle below."""
        return self._native.bundle

    @property
    def session(self) -> _native.Session:
        """The C++ Session below."""
        return self._native.bundle.session

    @overload
    def run(  # type: ignore[overload-overlap]  # a str is a sequence of str, too
        self,
        fetches: str,
        feeds: Mapping[str, Any] | None = None,
        targets: str | Sequence[str] = (),
        run_options: RunOptionsLike = None,
        metadata: _native.RunMetadata | None = None,
    ) -> Array: ...

    @overload
    def run(
        self,
        fetches: Sequence[str],
        feeds: Mapping[str, Any] | None = None,
        targets: str | Sequence[str] = (),
        run_options: RunOptionsLike = None,
        metadata: _native.RunMetadata | None = None,
    ) -> list[Array]: ...

    def run(
        self,
        fetches: str | Sequence[str],
        feeds: Mapping[str, Any] | None = None,
        targets: str | Sequence[str] = (),
        run_options: RunOptionsLike = None,
        metadata: _native.RunMetadata | None = None,
    ) -> Array | list[Array]:
        """Feeds and fetches any tensors of the graph, by their names ("dense/Relu:0").

        Returns one array for one name, a list for a sequence of names, as a TF1 session does.
        `targets`: names of operations to run without fetching. `run_options`: those of loading
        by default. `metadata`: filled if the options ask for a trace.
        """
        results = self.session.run(dict(feeds or {}), fetches, targets, run_options, metadata)
        return results[0] if isinstance(fetches, str) else results

    @property
    def variables(self) -> list[_native.Variable]:
        """What the saved object keeps as `variables` (Keras), else all variables there are.

        Of a TF1 graph its collection, partitions one by one.
        """
        return [self._objects.unique(variable) for variable in self._native.variables()]

    @property
    def trainable_variables(self) -> list[_native.Variable]:
        """Those of `variables` that are trainable, or that the saved object says are."""
        return [self._objects.unique(variable) for variable in self._native.trainable_variables()]

    @property
    def regularization_losses(self) -> list[_native.Function]:
        """Functions without arguments that give a scalar each, as Keras saves them."""
        return self._native.regularization_losses()

    def __getattr__(self, name: str) -> Any:
        # Only for what the class has not: `model["path"]` reaches a child of that name.
        objects = self.__dict__.get("_objects")
        if objects is None:
            raise AttributeError(name)
        return getattr(objects.root, name)

    def __getitem__(self, name: str) -> Any:
        return self._objects.root[name]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the function that was saved as the object's `__call__`."""
        root = self._objects.root
        if "__call__" not in root:
            raise TypeError(f"model '{self.path}' was saved without a __call__ function")
        return root["__call__"](*args, **kwargs)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._objects.root})

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the SavedModel with the variables and tables as they are now.

        All else is kept: graph, signatures, assets, fingerprint. It appears at `path` whole or
        not at all; a SavedModel or an empty directory there is replaced in one step. Raises
        AlreadyExistsError if something else is there. A call that changes variables meanwhile
        may be saved in part.
        """
        self._native.save(os.fspath(path))

    def save_optimized(self, path: str | os.PathLike[str]) -> OptimizeReport:
        """Writes a SavedModel for the signatures alone, which answers alike and loads faster.

        It has no object graph, and constants, with the values of now, in place of the variables
        that no signature can change; the others stay variables. TensorFlow loads it, too. It
        appears at `path` as with `save`. Raises InvalidArgumentError for a model without
        signatures, or if `path` is where this model was loaded from.
        """
        return self._native.save_optimized(os.fspath(path))

    def close(self) -> None:
        """Frees the model once calls under way have returned.

        Later calls raise FailedPreconditionError; arrays stay valid. May be repeated.
        """
        self._native.close()
        if self._archive is not None:
            self._archive.close()

    def __del__(self) -> None:
        if "_objects" in self.__dict__:  # else the load failed
            self._objects.forget()

    def __enter__(self) -> Model:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        tags = ", ".join(sorted(self.tags))
        return f"<savedmodel.Model '{self.path}', tags: {tags}, {self._signatures!r}>"

    def __reduce__(self) -> tuple[Any, ...]:
        native = self._native
        unpacked = self._archive
        return _unpickle, (
            # A link stays a link.
            os.path.abspath(self.path) if unpacked is None else unpacked.path,  # noqa: PTH100
            sorted(self.tags),
            native.session_options,
            native.run_options,
            self.fingerprint,
            None if unpacked is None else self._version,
            self._chosen_signatures,
            self._optimize,
        )


def _unpickle(
    path: str,
    tags: list[str],
    session_options: _native.SessionOptions,
    run_options: _native.RunOptions,
    fingerprint: Fingerprint | None,
    version: int | None,
    signatures: Iterable[str] | str | None,
    optimize: str,
) -> Model:
    from savedmodel.errors import FailedPreconditionError

    model = Model(path, tags, session_options, run_options, version, signatures, optimize)
    if model.fingerprint != fingerprint:
        model.close()
        raise FailedPreconditionError(
            f"model '{path}' is not the one that was pickled: expected {fingerprint}, "
            f"got {model.fingerprint}"
        )
    return model


def load(
    path: str | os.PathLike[str],
    tags: Iterable[str] | str | None = None,
    session_options: SessionOptionsLike = None,
    run_options: RunOptionsLike = None,
    version: int | None = None,
    signatures: Iterable[str] | str | None = None,
    optimize: str = "default",
    warmup: bool = False,
    verify: bool = False,
) -> Model:
    """Loads a SavedModel.

    Args:
        path: a SavedModel directory, or a directory of numbered versions (the highest is
            loaded), or a file:// URL of one; or an archive of one (.zip, .tar, .tar.gz, .tar.bz2,
            .tar.xz), which is unpacked into a temporary folder until the model is closed.
        tags: exactly the tags of one MetaGraph. None: {"serve"} if there is one, else the only
            MetaGraph, else an error that lists the tag sets.
        session_options: SessionOptions, serialized bytes of a ConfigProto, or any object with
            SerializeToString().
        run_options: RunOptions (or as above), used while loading and as the default of every
            call.
        version: the number of a version to load in place of the highest.
        signatures: restricts the model to these: nothing else is restored or compiled until a
            function, a variable or a tensor of the graph is asked for. None: all signatures, and
            the variables of all functions.
        optimize: "none" is what LoadSavedModel and a session's callable give, bit for bit.
            "default" may round differently (within 1e-5 of an output's scale): constants and
            variables that nothing changes are computed with beforehand, ops are fused, and what
            qualifies is answered by an engine in place of the session (`Signature.runner`).
            "max" also multiplies in bfloat16, with float32 sums, in convolutions and products
            with constant weights, where the processor can (AVX512-BF16) and that is faster: up to
            twice as fast, and within some 1e-2 of an output's scale. What is assigned to a
            variable is seen by the next call on every level. With SAVEDMODEL_ENGINE=session in
            the environment the session answers all calls.
        warmup: whether to replay the calls of `assets.extra/tf_serving_warmup_requests` before
            returning, as TensorFlow Serving does: at most 1000 records of predict, classify,
            regress and multi-inference logs. It is no error if the SavedModel has no such file;
            a call that fails is. Unpickling a model replays nothing.
        verify: whether to run each signature on random inputs, optimized and not, and to raise
            FailedPreconditionError if an answer differs by more than the level allows.

    Raises:
        NotFoundError: no such directory, version or tag set, or files of the model are missing.
        DataLossError: `saved_model.pb`, a variables file or the warmup file cannot be parsed.
        InvalidArgumentError: several MetaGraphs and no tags, or a graph that cannot be built.
        SavedModelError: anything else that TensorFlow reports. Nothing is left half-loaded.
    """
    return Model(
        path, tags, session_options, run_options, version, signatures, optimize, warmup, verify
    )


def copy_stats() -> CopyStats:
    """How much has been copied on the way into and out of calls, in this process so far."""
    by_reason = _native.copy_counts()
    return CopyStats(
        sum(count for count, _ in by_reason.values()),
        sum(size for _, size in by_reason.values()),
        by_reason,
    )


def set_log_level(level: str) -> None:
    """Sets the least severe of TensorFlow's own log lines to appear on standard error.

    "info", "warning", "error" or "fatal", for the whole process. By default it is "fatal", or
    what the environment variable TF_CPP_MIN_LOG_LEVEL says.
    """
    if level not in _LOG_LEVELS:
        raise ValueError(f"level: expected one of {', '.join(_LOG_LEVELS)}, got {level!r}")
    _native.set_log_level(_LOG_LEVELS.index(level))
