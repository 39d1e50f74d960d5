"""Saves copies of a model with the warmup requests of TensorFlow Serving.

    python tests/models/warmup.py OUT_DIR

Each is at OUT_DIR/NAME. The model adds up what it is called with. Its signatures: "serving_default"
(`x`, float32 [None], to `total` and `count`), "examples" (`inputs`, serialized tf.Examples with
the features `a` and `b`, to the same) and "read" (no input). TensorFlow has no reader of these
files, so a case that can be replayed comes with the total and count that it leads to, in
OUT_DIR/expected.json. OUT_DIR/complete is written last.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from pathlib import Path


def message(*fields: tuple[int, bytes]) -> bytes:
    """Protobuf's encoding of length-delimited fields."""

    def varint(value: int) -> bytes:
        head = b""
        while value > 127:
            head += bytes([value & 127 | 128])
            value >>= 7
        return head + bytes([value])

    return b"".join(
        varint(number << 3 | 2) + varint(len(value)) + value for number, value in fields
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out_dir", type=Path)
    out_dir: Path = parser.parse_args().out_dir

    # TensorFlow reads these once, as it is imported.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
    import tensorflow as tf

    class Adder(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.total = tf.Variable(0.0)
            self.count = tf.Variable(0)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
        def add(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
            total = self.total.assign_add(tf.reduce_sum(x))
            count = self.count.assign_add(1)
            return {"total": tf.identity(total), "count": tf.identity(count)}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "inputs")])
        def examples(self, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
            spec = tf.io.FixedLenFeature([], tf.float32, 0.0)
            parsed = tf.io.parse_example(inputs, {"a": spec, "b": spec})
            return self.add(parsed["a"] + parsed["b"])

        @tf.function(input_signature=[])
        def read(self) -> dict[str, tf.Tensor]:
            return {"total": self.total.read_value(), "count": self.count.read_value()}

    model = Adder()
    plain = out_dir / "none"
    tf.saved_model.save(
        model,
        str(plain),
        {"serving_default": model.add, "examples": model.examples, "read": model.read},
    )

    def spec(signature: str) -> bytes:
        return message((1, b"a model"), (3, signature.encode()) if signature else (9, b""))

    def tensor(value: object) -> bytes:
        return bytes(tf.make_tensor_proto(value).SerializeToString())

    def predict(signature: str, value: bytes, *outputs: str, name: str = "x") -> bytes:
        request = message(
            (1, spec(signature)),
            (2, message((1, name.encode()), (2, value))),
            *((3, output.encode()) for output in outputs),
        )
        return message((6, message((1, request))))

    def example(**features: float) -> bytes:
        return bytes(
            tf.train.Example(
                features=tf.train.Features(
                    feature={
                        name: tf.train.Feature(float_list=tf.train.FloatList(value=[value]))
                        for name, value in features.items()
                    }
                )
            ).SerializeToString()
        )

    def with_input(log: int, signature: str, given: bytes) -> bytes:
        return message((log, message((1, message((1, spec(signature)), (2, given))))))

    plain_list = message((1, message((1, example(a=1, b=2)), (1, example(a=4)))))
    context_list = message((2, message((1, example(a=1)), (1, example(a=2)), (2, example(b=10)))))
    tasks = message(
        (1, message((1, spec("examples")), (2, b"tensorflow/serving/classify"))),
        (1, message((1, spec("examples")), (2, b"tensorflow/serving/regress"))),
        (2, plain_list),
    )

    # A case that can be replayed: its records, the total and the count.
    replayed: dict[str, tuple[list[bytes], float, int]] = {
        "predict": ([predict("serving_default", tensor([1.0, 2.0]))], 3, 1),
        "default_signature": ([predict("", tensor([5.0]))], 5, 1),
        "output_filter": ([predict("", tensor([5.0]), "count")], 5, 1),
        "predict_examples": ([predict("examples", tensor([example(b=6)]), name="inputs")], 6, 1),
        "classify": ([with_input(2, "examples", plain_list)], 7, 1),
        "regress_with_context": ([with_input(3, "examples", context_list)], 23, 1),
        "multi_inference": ([message((4, message((1, tasks))))], 14, 2),
        "no_log": ([b"", predict("", tensor([5.0])), message((1, b""))], 5, 1),
        "no_record": ([], 0, 0),
        "thousand_records": ([predict("", tensor([1.0]))] * 1000, 1000, 1000),
    }
    # A case that cannot: its records.
    broken: dict[str, list[bytes]] = {
        "second_record_unknown_signature": [
            predict("", tensor([1.0])),
            predict("absent", tensor([1.0])),
        ],
        "unknown_input": [predict("", tensor([1.0]), name="z")],
        "unknown_output": [predict("", tensor([1.0]), "absent")],
        "wrong_dtype": [predict("", tensor([1]))],
        "wrong_rank": [predict("", tensor(1.0))],
        "graph_error": [predict("examples", tensor([b"no example"]), name="inputs")],
        "examples_for_floats": [with_input(2, "", plain_list)],
        "no_example": [with_input(2, "examples", message((1, b"")))],
        "no_input": [with_input(3, "examples", b"")],
        "session_run": [message((5, message((1, b""))))],
        "predict_streamed": [message((7, message((1, b""))))],
        "thousand_and_one_records": [predict("", tensor([1.0]))] * 1001,
        "not_a_message": [b"\xff" * 20],
        "tensor_not_a_message": [predict("", b"\xff" * 20)],
        # DT_FLOAT with one dimension of size -5, 2**40, 2**62 three times.
        "negative_tensor": [
            predict("", b"\x08\x01\x12\x0d\x12\x0b\x08" + b"\xfb" + b"\xff" * 8 + b"\x01")
        ],
        "huge_tensor": [predict("", b"\x08\x01\x12\x09\x12\x07\x08" + b"\x80" * 5 + b"\x20")],
        "overflowing_tensor": [
            predict(
                "", b"\x08\x01" + message((2, message((2, b"\x08" + b"\x80" * 8 + b"\x40")) * 3))
            )
        ],
        "tensor_of_no_dtype": [predict("", b"")],
        "tensor_of_resources": [predict("", b"\x08\x14")],
        "tensor_of_strange_dtype": [predict("", b"\x08\x63")],
        # DT_FLOAT, shape [3], five bytes of content.
        "tensor_content_of_wrong_size": [
            predict("", b"\x08\x01" + message((2, message((2, b"\x08\x03"))), (4, b"12345")))
        ],
    }
    expected = {}
    for name, (records, total, count) in replayed.items():
        expected[name] = {"total": total, "count": count}
        broken[name] = records
    for name, records in broken.items():
        folder = out_dir / name
        shutil.copytree(plain, folder)
        (folder / "assets.extra").mkdir()
        path = folder / "assets.extra" / "tf_serving_warmup_requests"
        with tf.io.TFRecordWriter(str(path)) as writer:
            for record in records:
                writer.write(record)
    (out_dir / "expected.json").write_text(json.dumps(expected))
    (out_dir / "complete").touch()


if __name__ == "__main__":
    main()
