"""Tables: resources that an initializer, or the checkpoint, must fill before the first call."""

from __future__ import annotations

import os
import tempfile

import tensorflow as tf

from zoo.registry import Call, array, model, save, signature, strings

WORDS = [b"zero", b"one", b"two", b"drei", "四".encode(), b"five six"]


def write_vocabulary(folder: str, name: str, words: list[bytes]) -> str:
    """A text file for TensorFlow to copy into the SavedModel's assets."""
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, name)
    with open(path, "wb") as file:
        file.write(b"".join(word + b"\n" for word in words))
    return path


@model()
def vocabulary_asset(path: str) -> list[Call]:
    """A table read from an asset file: the path in the graph must be the one on this disk."""
    with tempfile.TemporaryDirectory() as folder:
        module = tf.Module()
        module.table = tf.lookup.StaticHashTable(
            tf.lookup.TextFileInitializer(
                write_vocabulary(folder, "vocabulary.txt", WORDS),
                tf.string,
                tf.lookup.TextFileIndex.WHOLE_LINE,
                tf.int64,
                tf.lookup.TextFileIndex.LINE_NUMBER,
            ),
            default_value=-1,
        )

        @signature(words=(None, tf.string))
        def lookup(words: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"ids": module.table.lookup(words), "size": module.table.size()}

        save(path, lookup, module)
    return [
        Call({"words": strings([b"one", b"nine", b"five six", b""])}),
        Call({"words": strings([[b"zero"], ["四".encode()]])}),
        Call({"words": strings(b"two")}),
    ]


@model()
def two_assets_same_name(path: str) -> list[Call]:
    """Two asset files of one base name: TensorFlow renames the second one as it saves."""
    with tempfile.TemporaryDirectory() as folder:
        module = tf.Module()
        module.tables = []
        for index, words in enumerate([WORDS, WORDS[::-1]]):
            initializer = tf.lookup.TextFileInitializer(
                write_vocabulary(os.path.join(folder, str(index)), "vocab.txt", words),
                tf.int64,
                tf.lookup.TextFileIndex.LINE_NUMBER,
                tf.string,
                tf.lookup.TextFileIndex.WHOLE_LINE,
            )
            module.tables.append(tf.lookup.StaticHashTable(initializer, b"?"))

        @signature(ids=([None], tf.int64))
        def lookup(ids: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"forward": module.tables[0][ids], "backward": module.tables[1][ids]}

        save(path, lookup, module)
    return [Call({"ids": array([0, 5, 99, -1], "int64")})]


@model()
def vocabulary_oov(path: str) -> list[Call]:
    """Out-of-vocabulary words hash into buckets, which every process must agree on."""
    with tempfile.TemporaryDirectory() as folder:
        module = tf.Module()
        module.table = tf.lookup.StaticVocabularyTable(
            tf.lookup.TextFileInitializer(
                write_vocabulary(folder, "vocabulary.txt", WORDS),
                tf.string,
                tf.lookup.TextFileIndex.WHOLE_LINE,
                tf.int64,
                tf.lookup.TextFileIndex.LINE_NUMBER,
            ),
            num_oov_buckets=7,
        )

        @signature(words=([None], tf.string))
        def lookup(words: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"ids": module.table.lookup(words)}

        save(path, lookup, module)
    return [Call({"words": strings([b"one", b"nine", b"ten", b"\x00", b""])})]


@model()
def key_value_table(path: str) -> list[Call]:
    """A table whose content is in the graph itself, with no asset."""
    module = tf.Module()
    module.table = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(
            tf.constant([10, 20, -30], tf.int64), tf.constant(["ten", "twenty", "minus thirty"])
        ),
        default_value="unknown",
    )

    @signature(ids=([None], tf.int64))
    def lookup(ids: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"names": module.table.lookup(ids)}

    save(path, lookup, module)
    return [Call({"ids": array([20, 21, -30], "int64")}), Call({"ids": array([], "int64")})]


@model()
def mutable_table(path: str) -> list[Call]:
    """A table restored from the checkpoint that calls go on to change."""
    module = tf.Module()
    module.table = tf.lookup.experimental.MutableHashTable(tf.string, tf.int64, default_value=-1)
    module.table.insert(tf.constant(["saved"]), tf.constant([7], tf.int64))

    @signature(keys=([None], tf.string), values=([None], tf.int64))
    def insert(keys: tf.Tensor, values: tf.Tensor) -> dict[str, tf.Tensor]:
        module.table.insert(keys, values)
        return {"size": module.table.size()}

    @signature(keys=([None], tf.string))
    def lookup(keys: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"values": module.table.lookup(keys)}

    save(path, {"insert": insert, "lookup": lookup}, module)
    query = {"keys": strings([b"saved", b"new"])}
    return [
        Call(query, "lookup"),
        Call({"keys": strings([b"new"]), "values": array([1], "int64")}, "insert"),
        Call(query, "lookup"),
        Call({"keys": strings([b"saved"]), "values": array([2], "int64")}, "insert"),
        Call(query, "lookup"),
    ]


@model()
def dense_hash_table(path: str) -> list[Call]:
    """The open-addressing table, which the checkpoint stores as two tensors."""
    module = tf.Module()
    module.table = tf.lookup.experimental.DenseHashTable(
        tf.int64, tf.float32, default_value=-1.0, empty_key=-1, deleted_key=-2
    )
    module.table.insert(tf.constant([3, 5], tf.int64), tf.constant([0.3, 0.5]))

    @signature(keys=([None], tf.int64))
    def lookup(keys: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"values": module.table.lookup(keys)}

    save(path, lookup, module)
    return [Call({"keys": array([5, 4, 3], "int64")})]
