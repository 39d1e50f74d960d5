"""TF1 models that read files as they initialize: assets, init ops and sharded savers."""

from __future__ import annotations

import os
import shutil
import tempfile

import tensorflow as tf

from zoo.lookup import WORDS, write_vocabulary
from zoo.registry import Call, array, model, noise, strings
from zoo.tf1 import save_session, session, signature_def

v1 = tf.compat.v1


def asset_table(filename: str) -> tf.lookup.StaticHashTable:
    """A table whose file name is a constant in the ASSET_FILEPATHS collection."""
    constant = tf.constant(filename, name="vocabulary_path")
    v1.add_to_collection(v1.GraphKeys.ASSET_FILEPATHS, constant)
    initializer = tf.lookup.TextFileInitializer(
        constant,
        tf.string,
        tf.lookup.TextFileIndex.WHOLE_LINE,
        tf.int64,
        tf.lookup.TextFileIndex.LINE_NUMBER,
    )
    return v1.lookup.StaticHashTable(initializer, -1)


def save_table(path: str, init_key: str) -> list[Call]:
    with tempfile.TemporaryDirectory() as folder, session() as running:
        words = v1.placeholder(tf.string, [None], name="words")
        table = asset_table(write_vocabulary(folder, "words.txt", WORDS))
        scale = v1.get_variable("scale", initializer=10, use_resource=False)
        running.run(v1.global_variables_initializer())
        ids = table.lookup(words)
        outputs = {"ids": ids, "scaled": tf.cast(ids, tf.int32) * scale}
        if init_key == "legacy_init_op":
            # The builder now writes its init op elsewhere; older TensorFlow used this collection.
            v1.add_to_collection("legacy_init_op", tf.group(v1.tables_initializer()))
            options = {}
        else:
            options = {"main_op": v1.tables_initializer()}
        save_session(
            path,
            running,
            {"serving_default": signature_def({"words": words}, outputs)},
            assets_collection=v1.get_collection(v1.GraphKeys.ASSET_FILEPATHS),
            **options,
        )
    return [Call({"words": strings([b"two", b"nine", b"five six"])})]


@model()
def tf1_legacy_init_op(path: str) -> list[Call]:
    """The oldest place of the init op: a collection, with the asset path fed to it."""
    return save_table(path, "legacy_init_op")


@model()
def tf1_main_op(path: str) -> list[Call]:
    """The init op as the builder writes it since TF 1.13."""
    return save_table(path, "main_op")


@model()
def tf1_sharded_saver(path: str) -> list[Call]:
    """A saver that shards: its restore op is one node per device, grouped."""
    with session() as running:
        x = v1.placeholder(tf.float32, [None, 2], name="x")
        weights = [
            v1.get_variable(f"w{i}", initializer=noise([2, 2], i), use_resource=bool(i % 2))
            for i in range(4)
        ]
        running.run(v1.global_variables_initializer())
        y = x
        for weight in weights:
            y = v1.matmul(y, weight)
        signatures = {"serving_default": signature_def({"x": x}, {"y": y})}
        save_session(path, running, signatures, saver=v1.train.Saver(sharded=True))
    return [Call({"x": array([[1, 2]])})]


@model()
def tf1_no_variables(path: str) -> list[Call]:
    """No variables and no folder for them, as a frozen or converted graph is saved."""
    with session() as running:
        x = v1.placeholder(tf.float32, [None], name="x")
        signatures = {"serving_default": signature_def({"x": x}, {"y": x * x})}
        save_session(path, running, signatures)
    shutil.rmtree(os.path.join(path, "variables"), ignore_errors=True)
    return [Call({"x": array([1, 2, 3])})]
