"""The command `savedmodel` against TensorFlow's `saved_model_cli`: what both print and write.

Where the two differ on purpose, `KNOWN_DIFFERENCES` says so.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import savedmodel
from conftest import TensorFlow
from savedmodel.cli import main
from savedmodel.cli.arguments import FOUND


class Outcome(NamedTuple):
    """What a command line did: its exit status, and what it printed on standard output."""

    status: int
    stdout: str


Both = Callable[[list[str]], tuple[Outcome, Outcome]]


@pytest.fixture
def both(tensorflow_command: TensorFlow, capsys: pytest.CaptureFixture[str]) -> Both:
    """Runs a command line with both programs, saved_model_cli first."""

    def run(arguments: list[str]) -> tuple[Outcome, Outcome]:
        theirs = Outcome(*tensorflow_command.saved_model_cli(*arguments))
        status = main(arguments)
        return theirs, Outcome(status, capsys.readouterr().out)

    return run


# Where the text differs on purpose: what, and what makes either program's text comparable.
KNOWN_DIFFERENCES: list[tuple[str, Callable[[str], str]]] = [
    (
        "saved_model_cli prints a set of ops in random order; ours is sorted",
        lambda text: re.sub(
            r"(?<=denylisted ops: ){.*}|(?<=following ops: ){.*}",
            lambda ops: "{" + ", ".join(sorted(ops[0].strip("{}").split(", "))) + "}",
            text,
        ),
    ),
    (
        "it prints dicts in random order; ours are sorted by key",
        lambda text: re.sub(
            r"(?<=Value: {).*(?=}$)",
            lambda items: "".join(sorted(items[0])),
            text,
            flags=re.MULTILINE,
        ),
    ),
    (
        "it prints arguments by keyword in random order; ours are sorted",
        lambda text: re.sub(
            r"(?:        Named Argument #\d+\n.*\n)+",
            lambda lines: "".join(sorted(lines[0].splitlines(keepends=True))),
            text,
        ),
    ),
    (
        "it orders the traces of a function by names that end in a number, as text: 100 before 99",
        lambda text: re.sub(
            r"(?:    Option #\d+\n(?:      .*\n)+)+",
            lambda options: "".join(
                sorted(re.split(r"    Option #\d+\n", options[0])),
            ),
            text,
        ),
    ),
]


def comparable(text: str) -> str:
    """A program's text without the known differences."""
    for _, normalized in KNOWN_DIFFERENCES:
        text = normalized(text)
    return text


# Folders under the generated models.
SHOWN = [
    "composite_outputs",
    "counter",
    "dtype_identity",
    "function_chain",
    "guide/module_multiple_signatures",
    "guide/module_no_signatures",
    "guide/module_polymorphic",
    "keras_bidirectional",
    "keras_two_inputs_two_outputs",
    "mutable_table",
    "object_graph",
    "object_graphs/composites",
    "object_graphs/containers",
    "object_graphs/functions",
    "object_graphs/keras_saved",
    "object_graphs/reusable",
    "object_graphs/tables_and_assets",
    "object_graphs/variable_arguments",
    "odd_names",
    "path with spaces, ünïcödé 模型",
    "pbtxt_form",
    "ragged_input",
    "sparse_input",
    "tf1_classify",
    "tf1_legacy_init_op",
    "tf1_sparse_input",
    "tf1_train_tag_only",
    "tf1_two_tag_sets",
    "vocabulary_asset",
    "while_loop",
]


def command_lines(path: str, tag_sets: list[str], signature: str) -> Iterator[list[str]]:
    """Every combination of what `show` and `scan` take, for a model."""
    yield ["show", "--dir", path]
    yield ["show", "--dir", path, "--all"]
    yield ["show", "--dir", path, "--list_ops"]
    yield ["show", "--dir", path, "--all", "--list_ops", "--tag_set", "no_such_tag"]
    yield ["scan", "--dir", path]
    yield ["scan", "--dir", path, "--op_denylist", ""]
    yield ["scan", "--dir", path, "--op_denylist", "MatMul, RestoreV2,,NoSuchOp"]
    for tags in tag_sets:
        chosen = ["--dir", path, "--tag_set", tags]
        yield ["show", *chosen]
        yield ["show", *chosen, "--list_ops"]
        yield ["show", *chosen, "--signature_def", signature]
        yield ["show", *chosen, "--signature_def", signature, "--list_ops", "--noall"]
        yield ["show", *chosen, "--signature_def", "no_such_signature"]
        yield ["scan", *chosen]
        yield ["scan", *chosen, "--op_denylist", "Identity"]


@pytest.mark.parametrize("name", SHOWN)
def test_show_and_scan(both: Both, models: Path, name: str) -> None:
    path = models / name / "saved_model"
    infos = savedmodel.inspect(path).meta_graphs
    tag_sets = [",".join(info.tags) for info in infos] + ["no_such_tag"]
    # The last: the loader's own come first.
    signature = max(key for info in infos for key in info.signature_defs)
    # Ops of control flow's bodies and of what only the object graph calls: saved_model_cli scan
    # does not see them. test_cli_scan.py looks at those.
    hidden = {op for info in infos for op in info.ops if op not in info.called_ops}
    for arguments in command_lines(str(path), tag_sets, signature):
        theirs, mine = both(arguments)
        if arguments[0] == "scan" and hidden.intersection(re.split(r"\W+", mine.stdout)):
            continue
        # Ours goes on: a line for each place, indented.
        text = (
            re.sub(r"^  .*\n", "", mine.stdout, flags=re.MULTILINE)
            if arguments[0] == "scan"
            else mine.stdout
        )
        assert comparable(text) == comparable(theirs.stdout), arguments
        assert (mine.status in (0, FOUND)) == (theirs.status == 0), arguments


def test_known_differences_are_few(both: Both, models: Path) -> None:
    """On most models nothing but the order of ops differs."""
    path = models / "object_graphs" / "variable_arguments" / "saved_model"
    theirs, mine = both(["show", "--dir", str(path), "--all"])
    assert mine.stdout == KNOWN_DIFFERENCES[0][1](theirs.stdout)
    assert "VariableSpec(shape=(), dtype=tf.float32, trainable=True, alias_id=0)" in mine.stdout


@pytest.mark.parametrize("module", [False, True])
def test_as_a_process(tensorflow_command: TensorFlow, models: Path, module: bool) -> None:
    """The installed command, and `python -m savedmodel`."""
    command = [sys.executable, "-m", "savedmodel"] if module else ["savedmodel"]
    arguments = ["show", "--dir", str(models / "keras_mlp" / "saved_model"), "--all"]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    _, theirs = tensorflow_command.saved_model_cli(*arguments)
    assert comparable(done.stdout) == comparable(theirs)


def edited(path: Path, folder: Path, change: Callable[[bytes], bytes]) -> str:
    """A copy of a SavedModel with a changed saved_model.pb."""
    shutil.copytree(path, folder)
    file = folder / "saved_model.pb"
    file.write_bytes(change(file.read_bytes()))
    return str(folder)


def test_concrete_functions_of_several_meta_graphs(
    both: Both, models: Path, tmp_path: Path
) -> None:
    def double(proto: bytes) -> bytes:
        # The MetaGraphs are a repeated field: two messages after each other are merged.
        return proto + proto.replace(b"\x22\x05serve", b"\x22\x05other")

    path = edited(models / "counter" / "saved_model", tmp_path / "model", double)
    theirs, mine = both(["show", "--dir", path, "--all"])
    assert comparable(mine.stdout) == comparable(theirs.stdout)
    assert mine.stdout.endswith("Functions: N/A (could not be listed due to unknown reasons)\n")


def test_concrete_functions_beside_unknown_ops(both: Both, models: Path, tmp_path: Path) -> None:
    """saved_model_cli has to load the functions to list them; ours lists them."""

    def rename(proto: bytes) -> bytes:
        return proto.replace(b"\x12\x06MatMul", b"\x12\x06MyMul!")

    path = edited(models / "keras_mlp" / "saved_model", tmp_path / "model", rename)
    theirs, mine = both(["show", "--dir", path, "--all"])
    before, _, listed = comparable(mine.stdout).partition("\nConcrete Functions:")
    assert comparable(theirs.stdout) == (
        f"{before}\nConcrete Functions: N/A (could not be listed due to the existence of custom "
        "ops in the SavedModel)\n"
    )
    assert "features: TensorSpec(shape=(None, 4), dtype=tf.float32, name='features')" in listed


# Model -> what `run` is given. "{folder}" holds the files that `arrays` writes.
RUNS = {
    "keras_mlp": [
        ["--input_exprs", "features=[[1, 2, 3, 4.5]]"],
        ["--inputs", "features={folder}/features.npy"],
        ["--inputs", "features={folder}/more.npz[b]"],
        ["--inputs", "features={folder}/features.npy", "--input_exprs", "features=[[0, 0, 0, 0]]"],
        ["--inputs", "features={folder}/absent.npy"],
        ["--inputs", "features={folder}/more.npz[absent]"],
        ["--input_exprs", "nope=[[1.0]]"],
        ["--input_exprs", "features=[[1.0]]"],
        [],
    ],
    "parse_example": [
        [
            "--input_examples",
            'examples=[{"age":[2.5],"name":["Ada"],"ids":[1,-2]},{"name":[b"\\xff"]},{}]',
        ],
        ["--input_examples", 'examples=[{"age":[1.5, 2]}]'],
        ["--input_examples", 'examples=[{"ids":[True, 7]}]'],
        ["--input_examples", 'examples=[{"ids":[1, 2.5]}]'],
        ["--input_examples", 'examples=[{"ids":["a", 2]}]'],
        ["--input_examples", 'examples=[{"ids":5}]'],
        ["--input_examples", 'examples=[{"ids":(5,)}]'],
        ["--input_examples", 'examples=[{"ids":[1 + 1j]}]'],
        ["--input_examples", 'examples=[{"ids":[9223372036854775808]}]'],
        ["--input_examples", "examples=[5]"],
        ["--input_examples", "examples={}"],
    ],
    "keras_two_inputs_two_outputs": [
        ["--inputs", "dense={folder}/dense.npy;ids={folder}/ids.npy"],
        ["--inputs", "dense={folder}/dense.npy", "--input_exprs", "ids=[[1, 2]]"],
        ["--inputs", "dense={folder}/dense.npy"],
    ],
}


@pytest.fixture
def arrays(tmp_path: Path) -> Path:
    """A folder of arrays that RUNS names."""
    features = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)
    np.save(tmp_path / "features.npy", features)
    np.savez(tmp_path / "more.npz", a=features * 2, b=features * 3)
    np.save(tmp_path / "dense.npy", np.ones((1, 3), np.float32))
    np.save(tmp_path / "ids.npy", np.array([[1, 2]], np.int32))
    return tmp_path


def run_arguments(models: Path, name: str, arrays: Path, given: list[str]) -> list[str]:
    chosen = ["run", "--dir", str(models / name / "saved_model"), "--tag_set", "serve"]
    inputs = [each.replace("{folder}", str(arrays)) for each in given]
    return [*chosen, "--signature_def", "serving_default", *inputs]


@pytest.mark.parametrize("name", RUNS)
def test_run(both: Both, models: Path, arrays: Path, name: str) -> None:
    for given in RUNS[name]:
        theirs, mine = both(run_arguments(models, name, arrays, given))
        assert (mine.status == 0) == (theirs.status == 0), given
        assert mine.stdout == theirs.stdout, given


def test_run_saves_the_same_files(
    tensorflow_command: TensorFlow, models: Path, arrays: Path, tmp_path: Path
) -> None:
    name = "keras_two_inputs_two_outputs"
    arguments = run_arguments(models, name, arrays, RUNS[name][0])
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    succeeded = []
    for more in ([], [], ["--overwrite"]):
        status, _ = tensorflow_command.saved_model_cli(*arguments, "--outdir", str(theirs), *more)
        succeeded.append(status == 0)
        assert (main([*arguments, "--outdir", str(ours), *more]) == 0) == succeeded[-1]
    assert succeeded == [True, False, True]
    names = sorted(file.name for file in theirs.iterdir())
    assert names == sorted(file.name for file in ours.iterdir()) == ["logits.npy", "score.npy"]
    for file in names:
        expected, saved = np.load(theirs / file), np.load(ours / file)
        assert (saved.dtype, saved.shape) == (expected.dtype, expected.shape)
        np.testing.assert_allclose(saved, expected, rtol=1e-6)


# Models whose recorded calls are made by `run`, too: their inputs from files and as literals.
RECORDED = [
    "cond",
    "convolutions",
    "default_inputs",
    "dense_hash_table",
    "einsum",
    "fft",
    "image_resize",
    "keras_attention",
    "keras_bidirectional",
    "keras_cnn",
    "keras_string_lookup",
    "keras_text_vectorization",
    "key_value_table",
    "many_inputs_outputs",
    "parse_example",
    "passthrough_output",
    "path with spaces, ünïcödé 模型",
    "ragged_input",
    "shapes",
    "string_conversions",
    "string_ops",
    "tf1_classify",
    "tf1_control_flow",
    "tf1_legacy_init_op",
    "tf1_no_placeholder_shape",
    "tf1_ref_variables",
    "tf1_two_tag_sets",
    "vocabulary_asset",
]
NUMBER = re.compile(r"-?(?:\d+\.?\d*(?:e[-+]?\d+)?|inf|nan)")


def assert_same_text(mine: str, theirs: str) -> None:
    """The same text but for the last digits of numbers, and the spaces that align them."""
    if mine != theirs:
        assert NUMBER.sub("#", mine).split() == NUMBER.sub("#", theirs).split()
        values = [[float(number) for number in NUMBER.findall(text)] for text in (mine, theirs)]
        np.testing.assert_allclose(*values, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", RECORDED)
def test_run_recorded_calls(
    tensorflow_command: TensorFlow,
    capsys: pytest.CaptureFixture[str],
    calls: Callable[[str], list[dict[str, Any]]],
    models: Path,
    tmp_path: Path,
    name: str,
) -> None:
    def arguments(call: dict[str, Any], inputs: list[str], outdir: str) -> list[str]:
        chosen = ["--dir", str(models / name / "saved_model"), "--tag_set", ",".join(call["tags"])]
        saved = ["--outdir", str(tmp_path / outdir), "--overwrite"]
        return ["run", *chosen, "--signature_def", call["signature"], *inputs, *saved]

    # The first call of each signature; saved_model_cli needs an input.
    signatures = {call["signature"]: call for call in reversed(calls(name)) if call["inputs"]}
    for call in list(signatures.values())[:3]:
        files, literals = [], []
        for index, (key, value) in enumerate(call["inputs"].items()):
            plain = np.array(value.tolist()) if value.dtype == object else value
            np.save(tmp_path / f"{index}.npy", plain)
            files.append(f"{key}={tmp_path}/{index}.npy")
            literals.append(f"{key}={plain.tolist()!r}")
        for inputs in (["--inputs", ";".join(files)], ["--input_exprs", ";".join(literals)]):
            status, theirs = tensorflow_command.saved_model_cli(*arguments(call, inputs, "theirs"))
            ours = main(arguments(call, inputs, "ours"))
            mine = capsys.readouterr().out
            if status != 0:  # "[]" has no dtype, nor a shape like (0, 4)
                assert ours != 0
                continue
            assert ours == 0
            assert_same_text(mine, theirs.replace(str(tmp_path / "theirs"), str(tmp_path / "ours")))
        # The headers, with dtype and shape: the numbers were printed.
        for file in (tmp_path / "theirs").iterdir():
            header, expected = (
                (tmp_path / folder / file.name).read_bytes()[:128] for folder in ("ours", "theirs")
            )
            assert header.partition(b"}")[0] == expected.partition(b"}")[0], file.name
