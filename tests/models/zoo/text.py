"""String tensors: bytes of any value and length, never text to the runtime."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from zoo.registry import Call, array, model, save, signature, strings


@model()
def string_ops(path: str) -> list[Call]:
    """Embedded NULs, bytes that are not UTF-8, long strings, and every rank of string tensor."""

    @signature(x=(None, tf.string))
    def ops(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {
            "same": tf.identity(x),
            "lower": tf.strings.lower(x),
            "twice": tf.strings.join([x, x], separator="\0"),
            "length": tf.strings.length(x),
            "hash": tf.strings.to_hash_bucket_fast(x, 1 << 40),
            "all": tf.strings.reduce_join(x, separator="|"),
        }

    save(path, ops)
    return [
        Call({"x": strings(b"A\x00B\x00")}),
        Call({"x": strings(b"")}),
        Call({"x": strings([b"One", b"", b"\x00", b"\xff\xc3(", "ÄÖ漢字".encode()])}),
        Call({"x": strings([[b"a", b"B"], [b"C\x00", b"d" * 100_000]])}),
        Call({"x": np.empty((0,), object)}),
        Call({"x": np.empty((2, 0, 3), object)}),
    ]


@model()
def string_concat(path: str) -> list[Call]:
    """Two string inputs that broadcast, so that both are read and neither outlives the call."""

    @signature(left=([None, None], tf.string), right=([], tf.string))
    def concat(left: tf.Tensor, right: tf.Tensor) -> dict[str, tf.Tensor]:
        return {
            "sum": left + right,
            "stacked": tf.concat([left, left], axis=0),
            "equal": tf.equal(left, right),
        }

    save(path, concat)
    return [
        Call({"left": strings([[b"a", b"b\x00"]]), "right": strings(b"\x00z")}),
        Call({"left": np.empty((0, 2), object), "right": strings(b"")}),
        Call({"left": strings([[b"x"], [b"q"]]), "right": strings(b"q")}),
    ]


@model()
def string_split(path: str) -> list[Call]:
    """Ragged tensors inside the graph, dense at its boundary, widths known only at run time."""

    @signature(text=([None], tf.string))
    def split(text: tf.Tensor) -> dict[str, tf.Tensor]:
        words = tf.strings.split(text)
        return {
            "words": words.to_tensor(default_value="<pad>"),
            "counts": words.row_lengths(),
            "flat": words.flat_values,
            "characters": tf.strings.bytes_split(text).to_tensor(),
        }

    save(path, split)
    return [
        Call({"text": strings([b"the quick  brown fox", b"", b"jumps"])}),
        Call({"text": strings([b""])}),
    ]


@model()
def string_conversions(path: str) -> list[Call]:
    """Strings made from and into other dtypes inside the graph."""

    @signature(x=([None], tf.float32), numerals=([None], tf.string))
    def convert(x: tf.Tensor, numerals: tf.Tensor) -> dict[str, tf.Tensor]:
        return {
            "text": tf.strings.as_string(x, precision=3),
            "numbers": tf.strings.to_number(numerals, tf.int64),
            "base64": tf.io.encode_base64(numerals),
            "padded": tf.strings.regex_replace(numerals, r"(\d)", r"<\1>"),
            "prefix": tf.strings.substr(numerals, 0, 1),
        }

    @signature(raw=([], tf.string))
    def decode(raw: tf.Tensor) -> dict[str, tf.Tensor]:
        return {
            "little": tf.io.decode_raw(raw, tf.int16),
            "big": tf.io.decode_raw(raw, tf.int16, little_endian=False),
            "code_points": tf.strings.unicode_decode(raw, "UTF-8", errors="replace"),
        }

    save(path, {"convert": convert, "decode": decode})
    return [
        Call({"x": array([1.5, -0.25]), "numerals": strings([b"12", b"-7"])}, "convert"),
        Call({"raw": strings(b"\x01\x02\x00\xff")}, "decode"),
        Call({"raw": strings(b"")}, "decode"),
    ]


@model()
def parse_example(path: str) -> list[Call]:
    """Serialized tf.Example input, the usual form of a batch sent to a served model."""

    @signature(examples=([None], tf.string))
    def parse(examples: tf.Tensor) -> dict[str, tf.Tensor]:
        features = {
            "age": tf.io.FixedLenFeature([1], tf.float32, default_value=[-1.0]),
            "name": tf.io.FixedLenFeature([], tf.string, default_value=""),
            "ids": tf.io.VarLenFeature(tf.int64),
        }
        parsed = tf.io.parse_example(examples, features)
        ids = tf.sparse.to_dense(parsed["ids"], default_value=-1)
        return {"age": parsed["age"], "name": parsed["name"], "ids": ids}

    save(path, parse)

    def example(age: float, name: bytes, ids: list[int]) -> bytes:
        feature = {
            "age": tf.train.Feature(float_list=tf.train.FloatList(value=[age])),
            "name": tf.train.Feature(bytes_list=tf.train.BytesList(value=[name])),
            "ids": tf.train.Feature(int64_list=tf.train.Int64List(value=ids)),
        }
        message = tf.train.Example(features=tf.train.Features(feature=feature))
        return message.SerializeToString(deterministic=True)

    batch = [example(3.5, b"ada", [1, 2, 3]), example(80.0, b"\x00\xff", []), b""]
    return [Call({"examples": strings(batch)})]
