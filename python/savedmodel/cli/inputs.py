"""The inputs of a signature from the command line: files, expressions and tf.train.Examples."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from savedmodel.cli.arguments import CommandError, UsageError, add_flag
from savedmodel.cli.console import shape_text, warn

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping
    from typing import BinaryIO

    import numpy as np
    import numpy.typing as npt

    from savedmodel._native import Signature
    from savedmodel.cli.arguments import Parser
    from savedmodel.model import Model
    from savedmodel.specs import TensorSpec

_MAX_FILE_BYTES = 1 << 34  # Of an array in a file, unpacked.
_NPY = b"\x93NUMPY"
_ZIPS = (b"PK\x03\x04", b"PK\x05\x06")


def add_input_arguments(parser: Parser) -> None:
    """Declare the arguments that `read_inputs` reads."""
    parser.add_argument(
        "--inputs",
        metavar="KEY=FILE[NAME];...",
        default="",
        help="inputs from files: .npy, .npz with the name of the array in [], images, sound, and "
        "any file where strings are taken",
    )
    parser.add_argument(
        "--input_exprs",
        metavar="KEY=EXPR;...",
        default="",
        help="inputs as Python literals and NumPy expressions: 'x=np.ones((1, 3))'",
    )
    parser.add_argument(
        "--input_examples",
        metavar="KEY=[{...}];...",
        default="",
        help='tf.train.Examples: \'x=[{"age": [22], "name": ["Ada"]}]\'',
    )
    add_flag(parser, "allow-pickle", "open pickles too: they can run any code")


def read_inputs(args: argparse.Namespace, signature: Signature) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays that the arguments give, of the dtypes of the signature's inputs.

    Where a key is given several times, examples go before expressions and those before files, as in
    `saved_model_cli`. Raises CommandError for what cannot be read, is no input, or has the wrong
    shape. A cast that changes numbers warns.
    """
    try:
        return _read_inputs(args, signature)
    except UsageError:
        raise
    except CommandError as error:
        raise CommandError(f"model '{args.dir}': {error}") from error.__cause__


def _read_inputs(args: argparse.Namespace, signature: Signature) -> dict[str, npt.NDArray[Any]]:
    values: dict[str, Any] = {}
    for key, (path, name) in _parse_files(args.inputs).items():
        values[key] = _read_file(Path(path), name, _spec(signature, key), args.allow_pickle)
    for key, value in _evaluate("--input_exprs", args.input_exprs).items():
        _warn_if_given(key, values, "--input_exprs")
        values[key] = value
    for key, value in _evaluate("--input_examples", args.input_examples).items():
        _warn_if_given(key, values, "--input_examples")
        values[key] = _serialize_examples(key, value)
    return {key: _to_array(signature, key, value) for key, value in values.items()}


def choose_signature(model: Model, key: str | None) -> Signature:
    """Return the signature with this key; without one serving_default, or the only one there is."""
    signatures = model.signatures
    if key is None:
        if "serving_default" in signatures:
            return signatures["serving_default"]
        if len(signatures) != 1:
            choices = ", ".join(f"'{name}'" for name in signatures) or "none"
            raise UsageError(f"--signature_def is needed: the signatures are {choices}")
        (key,) = signatures
    return signatures[key]


def where(signature: Signature, key: str) -> str:
    """Return the words that begin a message about an input."""
    return f"signature '{signature.name}', input '{key}'"


def _spec(signature: Signature, key: str) -> TensorSpec:
    spec = signature.inputs.get(key)
    if spec is None:
        choices = ", ".join(f"'{name}'" for name in signature.inputs) or "none"
        raise CommandError(f"signature '{signature.name}' has no input '{key}'; inputs: {choices}")
    return spec


def _warn_if_given(key: str, values: Mapping[str, Any], option: str) -> None:
    if key in values:
        warn(f"input '{key}' is given more than once; that of {option} counts")


def _split(text: str) -> Iterator[str]:
    """Split at each ';' that is in no string."""
    part, quote, escape = "", "", False
    for character in text:
        if character == ";" and not quote:
            yield part
            part = ""
            continue
        part += character
        if quote:
            quote = "" if character == quote and not escape else quote
            escape = character == "\\" and not escape
        elif character in "'\"":
            quote = character
    yield part


def _parse_files(text: str) -> dict[str, tuple[str, str | None]]:
    """Read "x=a.npy;y=b.npz[name]"."""
    files: dict[str, tuple[str, str | None]] = {}
    for part in filter(None, text.split(";")):
        match = re.fullmatch(r"([^=]+)=([^\[\]]+)(?:\[([^\[\]]+)\])?", part)
        if match is None:
            raise UsageError(f"--inputs '{part}': expected KEY=FILE or KEY=FILE[NAME]")
        files[match[1]] = match[2], match[3]
    return files


def _evaluate(option: str, text: str) -> dict[str, Any]:
    """Read "x=[1, 2];y=np.ones(3)"."""
    from savedmodel.cli.expressions import ExpressionError, evaluate

    values = {}
    for part in filter(None, map(str.strip, _split(text))):
        key, equals, expression = part.partition("=")
        if not equals:
            raise UsageError(f"{option} '{part}': expected KEY=EXPRESSION")
        try:
            values[key.strip()] = evaluate(expression)
        except ExpressionError as error:
            shown = expression if len(expression) <= 60 else f"{expression[:60]}..."
            raise CommandError(f"{option} {key.strip()}='{shown}': {error}") from None
    return values


def _serialize_examples(key: str, examples: Any) -> list[bytes]:
    from savedmodel.cli.examples import serialize_example

    if not isinstance(examples, list):
        raise CommandError(
            f"--input_examples {key}: expected a list of dicts, got a {type(examples).__name__}"
        )
    try:
        return [serialize_example(example) for example in examples]
    except ValueError as error:
        raise CommandError(f"--input_examples {key}: {error}") from None


def _read_file(path: Path, name: str | None, spec: TensorSpec, allow_pickle: bool) -> Any:
    with path.open("rb") as file:
        start = file.read(8)
        file.seek(0)
        if start.startswith(_NPY):
            if name is not None:
                warn(f"{path} holds a single array; '[{name}]' is ignored")
            return _read_npy(file, path.stat().st_size, str(path), allow_pickle)
        if start.startswith(_ZIPS):
            return _read_npz(path, name, allow_pickle)
        media = _read_media(path, spec)
        if media is not None:
            return media
        if spec.dtype is not None and spec.dtype.hasobject and not allow_pickle:
            return file.read()
        if not allow_pickle:
            raise CommandError(
                f"{path}: not a .npy, .npz, image or sound file. If it is a pickle from somebody "
                "you trust, --allow-pickle opens it; a pickle can run any code"
            )
        return _read_pickle(file, path, name)


def _read_media(path: Path, spec: TensorSpec) -> npt.NDArray[Any] | None:
    """Return a decoded image or sound; None if it is neither, or is wanted as it is."""
    from savedmodel.cli import media

    dtype = spec.dtype
    if dtype is None or dtype.hasobject:
        return None
    suffix = path.suffix.lower()
    if suffix in media.IMAGES:
        return media.read_image(path, spec, dtype)
    if suffix in media.SOUNDS:
        return media.read_sound(path, spec, dtype)
    return None


def _read_npy(file: BinaryIO, size: int, where: str, allow_pickle: bool) -> npt.NDArray[Any]:
    """Read a .npy file of so many bytes. What its header claims is not trusted."""
    import numpy as np

    try:
        version = np.lib.format.read_magic(file)
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }.get(version)
        if read_header is not None:
            shape, _, dtype = read_header(file)
            elements = 1
            for length in shape:
                elements *= length
            needed = elements * dtype.itemsize
            if not dtype.hasobject and needed > min(size, _MAX_FILE_BYTES):
                raise ValueError(f"it claims {needed:,} bytes and has {size:,}")
        file.seek(0)
        array: npt.NDArray[Any] = np.lib.format.read_array(file, allow_pickle=allow_pickle)
    except Exception as error:
        # Broken headers make NumPy's parser raise anything, and quote them at length.
        message = str(error)[:200] or type(error).__name__
        if "Object arrays" in message:
            message = (
                "its elements are pickles: --allow-pickle opens it, and a pickle can run any code"
            )
        raise CommandError(f"{where}: {message}") from None
    return array


def _read_npz(path: Path, name: str | None, allow_pickle: bool) -> npt.NDArray[Any]:
    import zipfile
    import zlib

    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            if name is None and len(members) != 1:
                raise CommandError(
                    f"{path} holds {len(members)} arrays: add the name of one in [], of "
                    f"{', '.join(members) or 'none'}"
                )
            member = next(iter(members.values())) if name is None else members.get(name)
            if member is None:
                raise CommandError(
                    f"{path} holds no array '{name}'; there are: {', '.join(members) or 'none'}"
                )
            with archive.open(member) as file:
                where = f"{path}[{member.filename.removesuffix('.npy')}]"
                return _read_npy(file, member.file_size, where, allow_pickle)  # type: ignore[arg-type]
    except (NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise CommandError(f"{path}: {error}") from None


def _read_pickle(file: BinaryIO, path: Path, name: str | None) -> Any:
    import pickle

    try:
        value = pickle.load(file)
        return value if name is None else value[name]
    except (KeyError, IndexError, TypeError) as error:
        raise CommandError(f"{path}: the pickle has no item '{name}': {error}") from None
    except Exception as error:
        raise CommandError(f"{path}: not a pickle that can be read: {error}") from None


def _to_array(signature: Signature, key: str, value: Any) -> npt.NDArray[Any]:
    """Cast as a TF1 session casts what it is fed, and compare the shape."""
    import numpy as np

    spec = _spec(signature, key)
    if spec.dtype is None:
        raise CommandError(f"{where(signature, key)} takes a resource, which no file can hold")
    if spec.dtype.hasobject:
        # Text becomes UTF-8; an array of text or bytes is taken as it is.
        array = value if isinstance(value, np.ndarray) else np.asarray(value, dtype=object)
        if array.dtype.kind not in "OSTU":
            raise CommandError(f"{where(signature, key)}: expected strings, got {array.dtype}")
        for element in array.flat if array.dtype.kind == "O" else ():
            if not isinstance(element, (str, bytes)):
                raise CommandError(
                    f"{where(signature, key)}: expected strings, got a {type(element).__name__}"
                )
    else:
        array = _cast(signature, key, value, spec.dtype)
    expected = spec.shape
    fits = expected is None or (
        len(expected) == array.ndim
        and all(size in (None, actual) for size, actual in zip(expected, array.shape, strict=True))
    )
    if not fits:
        raise CommandError(
            f"{where(signature, key)}: expected shape {shape_text(expected)}, got {array.shape}"
        )
    return array


def _cast(signature: Signature, key: str, value: Any, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    import numpy as np

    try:
        source = np.asarray(value)
        if source.dtype.kind == dtype.kind == "V" and source.dtype.itemsize == dtype.itemsize:
            # So are bfloat16 and its kin written to .npy files: as bytes without a name.
            value = source = source.view(dtype)
        if source.dtype.kind == "c" and dtype.kind != "c":
            raise ValueError("complex numbers")
        with np.errstate(all="ignore"):
            # A Python integer that the dtype does not hold is an error, as in TensorFlow.
            array = np.asarray(value, dtype=dtype)
    except (MemoryError, OverflowError, TypeError, ValueError) as error:
        raise CommandError(f"{where(signature, key)}: expected {dtype}: {error}") from None
    if source.dtype != dtype and source.dtype.kind in "biuf":
        with np.errstate(all="ignore"):
            if np.issubdtype(dtype, np.integer) or dtype.kind == "b":
                changed = int(np.count_nonzero(array.astype(source.dtype) != source))
            else:
                # Floats are rounded; what is too large becomes infinite.
                changed = int(np.count_nonzero(np.isfinite(source) & ~np.isfinite(array)))
        if changed:
            warn(
                f"{where(signature, key)}: the cast from {source.dtype} to {dtype} changed "
                f"{changed} of {source.size} values"
            )
    return array
