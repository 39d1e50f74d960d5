"""What `keras.Model.export` writes, the way most SavedModels are made today."""

from __future__ import annotations

import keras
import numpy as np
from keras import layers

from zoo.registry import Call, model, noise, strings

WORDS = ["the", "quick", "brown", "fox", "ñandú"]


def export(path: str, exported: keras.Model) -> None:
    exported.export(path, verbose=False)


@model()
def keras_mlp(path: str) -> list[Call]:
    """The plainest export, with normalization constants and a dropout that must not act."""
    normalize = layers.Normalization(mean=0.5, variance=2.0)
    inputs = keras.Input([4], name="features")
    hidden = layers.Dropout(0.5)(layers.Dense(8, activation="gelu")(normalize(inputs)))
    export(path, keras.Model(inputs, layers.Dense(3, activation="softmax")(hidden)))
    return [Call({"features": noise([n, 4], n)}) for n in (1, 5)]


@model()
def keras_cnn(path: str) -> list[Call]:
    """BatchNormalization with moving averages that are not their initial values."""
    normalize = layers.BatchNormalization()
    cnn = keras.Sequential(
        [
            keras.Input([12, 12, 3], name="image"),
            layers.Conv2D(4, 3, use_bias=False),
            normalize,
            layers.ReLU(),
            layers.MaxPooling2D(),
            layers.SeparableConv2D(4, 3),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2),
        ]
    )
    weights = [abs(noise([4], seed)) + 0.1 for seed in range(4)]
    normalize.set_weights(weights)
    export(path, cnn)
    return [Call({"image": noise([n, 12, 12, 3], n)}) for n in (1, 3)]


@model()
def keras_two_inputs_two_outputs(path: str) -> list[Call]:
    """Named inputs and outputs of a functional model, one of them of integers."""
    dense = keras.Input([3], name="dense")
    ids = keras.Input([None], dtype="int32", name="ids")
    embedded = layers.GlobalMaxPooling1D()(layers.Embedding(10, 4)(ids))
    joined = layers.Concatenate()([dense, embedded])
    outputs = {
        "score": layers.Dense(1, activation="sigmoid", name="score")(joined),
        "logits": layers.Dense(5, name="logits")(joined),
    }
    export(path, keras.Model({"dense": dense, "ids": ids}, outputs))
    return [
        Call({"dense": noise([2, 3], 1), "ids": np.array([[1, 2, 9], [0, 0, 3]], np.int32)}),
        Call({"dense": noise([1, 3], 2), "ids": np.array([[7]], np.int32)}),
    ]


@model()
def keras_text_vectorization(path: str) -> list[Call]:
    """Preprocessing in the graph: a lookup table, regular expressions and ragged splitting."""
    vectorize = layers.TextVectorization(output_sequence_length=6, vocabulary=WORDS)
    text = keras.Input([], dtype="string", name="text")
    export(path, keras.Model(text, vectorize(text)))
    return [Call({"text": strings([b"The quick, quick FOX!", b"", "ñandú cat".encode()])})]


@model()
def keras_string_lookup(path: str) -> list[Call]:
    """A vocabulary feeding an embedding, with one slot for words outside it."""
    lookup = layers.StringLookup(vocabulary=WORDS)
    words = keras.Input([None], dtype="string", name="words")
    embedded = layers.Embedding(lookup.vocabulary_size(), 3)(lookup(words))
    export(path, keras.Model(words, [embedded, lookup(words)]))
    return [Call({"words": strings([[b"fox", b"cat", b"the"], [b"", b"\xff", b"brown"]])})]


@model()
def keras_attention(path: str) -> list[Call]:
    """A transformer block: einsum, softmax and layer normalization as Keras writes them."""
    tokens = keras.Input([None], dtype="int64", name="tokens")
    x = layers.Embedding(20, 8)(tokens)
    attended = layers.MultiHeadAttention(2, 4)(x, x, use_causal_mask=True)
    x = layers.LayerNormalization()(layers.Add()([x, attended]))
    export(path, keras.Model(tokens, layers.Dense(20)(x)))
    return [Call({"tokens": np.arange(10, dtype=np.int64).reshape(2, 5)})]
