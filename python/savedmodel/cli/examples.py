"""Serialized tf.train.Example messages, made without TensorFlow.

Source: tensorflow/core/example/{example,feature}.proto and protobuf's wire format. In all of these
messages each field that matters has one of two wire types, so the encoder is a few lines.
"""

from __future__ import annotations

import struct
from typing import Any

# Numbers of the fields.
_EXAMPLE_FEATURES = 1
_FEATURES_FEATURE = 1  # A map: key is 1, value is 2.
_BYTES_LIST, _FLOAT_LIST, _INT64_LIST = 1, 2, 3
_LIST_VALUE = 1


def serialize_example(features: Any) -> bytes:
    """Return the tf.train.Example of a dict of feature names and lists of values.

    As in `saved_model_cli`, the first value of a list decides: floats, integers, or strings (of
    which `str` is encoded in UTF-8). Features are sorted by name. Raises ValueError.
    """
    if not isinstance(features, dict):
        raise ValueError(f"an example is a dict of features, got a {type(features).__name__}")
    entries = b""
    for name, values in sorted(features.items(), key=lambda item: str(item[0])):
        if not isinstance(name, str):
            raise ValueError(f"the name of a feature is a str, got {name!r}")
        entry = _field(1, name.encode()) + _field(2, _feature(name, values))
        entries += _field(_FEATURES_FEATURE, entry)
    return _field(_EXAMPLE_FEATURES, entries)


def _feature(name: str, values: Any) -> bytes:
    if not isinstance(values, list) or not values:
        raise ValueError(f"feature '{name}': expected a list of values, got {values!r}")
    first = values[0]
    if isinstance(first, float):
        numbers = _checked(name, values, (int, float), "numbers")
        try:
            packed = struct.pack(f"<{len(numbers)}f", *numbers)
        except (OverflowError, struct.error) as error:
            raise ValueError(f"feature '{name}': {error}") from None
        return _field(_FLOAT_LIST, _field(_LIST_VALUE, packed))
    if isinstance(first, int):
        integers = _checked(name, values, int, "integers")
        if not all(-(1 << 63) <= value < 1 << 63 for value in integers):
            raise ValueError(f"feature '{name}': an integer that 64 bits do not hold")
        packed = b"".join(_varint(int(value) % (1 << 64)) for value in integers)
        return _field(_INT64_LIST, _field(_LIST_VALUE, packed))
    if isinstance(first, (str, bytes)):
        texts = _checked(name, values, type(first), "strings of one kind")
        encoded = [text.encode() if isinstance(text, str) else text for text in texts]
        return _field(_BYTES_LIST, b"".join(_field(_LIST_VALUE, text) for text in encoded))
    raise ValueError(
        f"feature '{name}': expected floats, integers or strings, got a {type(first).__name__}"
    )


def _checked(name: str, values: list[Any], kinds: Any, what: str) -> list[Any]:
    for value in values:
        if not isinstance(value, kinds) or isinstance(value, bool):
            raise ValueError(f"feature '{name}': expected {what}, got {value!r} among them")
    return values


def _field(number: int, content: bytes) -> bytes:
    """Return a field of wire type 2: its length and its content."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
