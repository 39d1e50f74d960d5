"""`savedmodel run`: inputs, refusals in one line, and outputs that stay where they belong."""

from __future__ import annotations

import io
import os
import pickle
import re
import shutil
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from savedmodel.cli import main
from savedmodel.cli.arguments import FAILED, WRONG_USAGE
from savedmodel.cli.run import file_name

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(
    models: Path,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Run:
    """Runs a model in a folder of its own; status, output, errors. No error is a traceback."""
    monkeypatch.chdir(tmp_path)

    def call(
        name: str, *arguments: str, signature: str = "serving_default"
    ) -> tuple[int, str, str]:
        path = models / name / "saved_model"
        chosen = ["--dir", str(path), "--tag_set", "serve", "--signature_def", signature]
        status = main(["run", *chosen, *arguments])
        out, err = capsys.readouterr()
        assert err.isprintable() or err.count("\n") == err.count("savedmodel: "), err
        return status, out, err

    return call


def refused(outcome: tuple[int, str, str], message: str, status: int = FAILED) -> None:
    """Asserts that a run ended in this one line, before it printed anything."""
    assert outcome[:2] == (status, "")
    assert re.search(message, outcome[2]), outcome[2]
    assert outcome[2].count("\n") == 1


ONES = ["--input_exprs", "features=np.ones((1, 4))"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--input_exprs", "features=np.ones((1, 3))"], r"expected shape \(\?, 4\), got \(1, 3\)"),
        (["--input_exprs", "x=1"], r"has no input 'x'; inputs: 'features'"),
        (["--input_exprs", "features=[['a']]"], "input 'features': expected float32: could not"),
        (["--input_exprs", "features=[[1j]]"], "expected float32: complex numbers"),
        (["--input_exprs", "features=[[10**999]]"], "expected float32: int too large"),
        (["--input_exprs", "features=np.float32"], "expected float32"),
        (["--input_exprs", "features={}"], "expected float32"),
        (["--input_exprs", "features=().__class__"], "__class__' is not allowed"),
        ([], r"missing input 'features' \(float32 with shape \(None, 4\)\)"),
        (["--inputs", "features=absent.npy"], "absent.npy: No such file"),
        (["--inputs", "features=."], "Is a directory"),
        (["--inputs", "features=/dev/null"], "not a .npy, .npz, image or sound file"),
        (["--input_examples", "features=1"], "expected a list of dicts, got a int"),
        (["--input_examples", "features=[1]"], "an example is a dict of features, got a int"),
        (["--input_examples", "features=[{'a': []}]"], r"'a': expected a list of values, got \[\]"),
        (["--input_examples", "features=[{'a': [1, 2.0]}]"], "expected integers, got 2.0 among"),
        (["--input_examples", "features=[{'a': ['b', 1]}]"], "expected strings of one kind, got 1"),
        (["--input_examples", "features=[{'a': [1 << 64]}]"], "64 bits do not hold"),
        (["--input_examples", "features=[{1: [1]}]"], "the name of a feature is a str, got 1"),
        ([*ONES, "--fetch", "absent:0"], "no tensor 'absent:0'"),
        ([*ONES, "--fetch", "*/Sotfmax"], r"no tensor '\*/Sotfmax' .*; there are '\*/Softmax'"),
    ],
)
def test_refused(run: Run, arguments: list[str], message: str) -> None:
    refused(run("keras_mlp", *arguments), message)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--worker", "grpc://x"], "--worker is not supported: models run in this process"),
        (["--init_tpu"], "--init_tpu is not supported"),
        (["--use_tfrt"], "--use_tfrt is not supported"),
        (["--tf_debug"], "--tf_debug is not supported: --fetch TENSOR shows intermediate tensors"),
        (["--input_exprs", "features"], "expected KEY=EXPRESSION"),
        (["--inputs", "features"], "expected KEY=FILE"),
        (["--inputs", "features=a.npz[b"], "expected KEY=FILE"),
    ],
)
def test_wrong_usage(run: Run, arguments: list[str], message: str) -> None:
    refused(run("keras_mlp", *arguments), re.escape(message), WRONG_USAGE)


@pytest.mark.parametrize(
    "value", ["[1]", "[None]", "{'a': 1}", "np.ones(2)", "np.str_", "['a', [1]]"]
)
def test_strings_that_are_none(run: Run, value: str) -> None:
    refused(run("string_ops", "--input_exprs", f"x={value}"), "expected strings, got|ragged")


def test_casts_that_change_values_warn(run: Run) -> None:
    status, _, err = run("while_loop", "--input_exprs", "n=3.7")
    assert (status, "the cast from float64 to int32 changed 1 of 1 values" in err) == (0, True)
    _, _, err = run("keras_mlp", "--input_exprs", "features=[[1e300, 1, 1, 1]]")
    assert "the cast from float64 to float32 changed 1 of 4 values" in err
    assert run("keras_mlp", *ONES)[2] == ""


# Headers of .npy files, with 64 bytes of data after them.
HEADERS = [
    "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 1000000000000000000, 1000000000), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (True,), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': ('a',), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (" + "9" * 5000 + ",), }",
    "{'descr': '|V0', 'fortran_order': False, 'shape': (1000000000000000000,), }",
    "{'descr': '|S0', 'fortran_order': False, 'shape': (1000000000000000000,), }",
    "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
    "{'descr': '<M8[s]', 'fortran_order': False, 'shape': (1,), }",
    "{'descr': '<U100000000', 'fortran_order': False, 'shape': (1,), }",
    "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }",
    "{'descr': [[[1]]], 'fortran_order': False, 'shape': (1,), }",
    "{'descr': ('<f4', (1000000, 1000000)), 'fortran_order': False, 'shape': (1,), }",
    "{'a': 1}",
    "[" * 90 + "]" * 90,
    "(" * 5000,
    "-" * 5000 + "1",
    "\x1b[2J",
]


@pytest.mark.parametrize("header", HEADERS, ids=lambda header: header[:60])
def test_broken_npy_files(run: Run, header: str) -> None:
    size = struct.pack("<H", len(header) + 1)
    content = b"\x93NUMPY\x01\x00" + size + header.encode() + b"\n" + bytes(64)
    Path("x.npy").write_bytes(content)
    with zipfile.ZipFile("x.npz", "w") as archive:
        archive.writestr("a.npy", content)
    for file in ("x.npy", "x.npz[a]"):
        refused(run("string_ops", "--inputs", f"x={file}"), "")
        refused(run("keras_mlp", "--inputs", f"features={file}"), "")


class Payload:
    """A pickle that makes a file."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("unpickled",)


def test_pickles_are_opened_only_when_asked_to(run: Run) -> None:
    Path("x.pkl").write_bytes(pickle.dumps(Payload()))
    np.save("x.npy", np.array([Payload()], dtype=object))
    np.savez("x.npz", a=np.array([Payload()], dtype=object))
    for file in ("x.pkl", "x.npy", "x.npz", "x.npz[a]"):
        outcome = run("keras_mlp", "--inputs", f"features={file}")
        refused(outcome, "--allow-pickle opens it.* a pickle can run any code")
    # Where strings are taken, a file is its bytes.
    assert run("string_ops", "--inputs", "x=x.pkl")[0] == 0
    assert not Path("unpickled").exists()
    for value in (np.ones((1, 4)), {"a": np.ones((1, 4))}):
        Path("x.pkl").write_bytes(pickle.dumps(value))
        file = "x.pkl[a]" if isinstance(value, dict) else "x.pkl"
        status, out, _ = run("keras_mlp", "--inputs", f"features={file}", "--allow-pickle")
        assert (status, out) == run("keras_mlp", *ONES)[:2]
    refused(run("keras_mlp", "--inputs", "features=x.pkl[b]", "--allow-pickle"), "no item 'b'")


def test_arrays_of_any_layout(run: Run) -> None:
    array = np.arange(8, dtype=">f8").reshape(2, 4)
    np.save("f.npy", np.asfortranarray(array))
    np.savez_compressed("z.npz", a=array.astype("<f4"), b=array)
    status, out, _ = run("keras_mlp", "--inputs", "features=f.npy")
    assert status == 0
    for file in ("z.npz[a]", "z.npz[b]"):
        assert run("keras_mlp", "--inputs", f"features={file}")[1] == out
    refused(run("keras_mlp", "--inputs", "features=z.npz"), r"holds 2 arrays: .* in \[\], of a, b")
    refused(
        run("keras_mlp", "--inputs", "features=z.npz[c]"), "holds no array 'c'; there are: a, b"
    )


def test_outputs_are_inputs_again(run: Run) -> None:
    """.npy files hold bfloat16 and its kin as bytes without a name."""
    assert run("dtype_identity", "--input_exprs", "x=[1.5]", "--outdir", ".", signature="bfloat16")
    status, out, _ = run("dtype_identity", "--inputs", "x=y.npy", signature="bfloat16")
    assert (status, out) == (0, "Result for output key y:\n[1.5]\n")


def test_examples(run: Run) -> None:
    """TensorFlow's parser reads what is serialized here."""
    examples = """[
        {"age": [22.5], "name": ["Ada; Lovelace"], "ids": [1, -2, 1 << 62]},
        {"name": [b"\\xff"]},
        {},
    ]"""
    status, out, err = run("parse_example", "--input_examples", f"examples={examples}")
    assert (status, err) == (0, "")
    assert out.splitlines() == [
        "Result for output key age:",
        "[[22.5]",
        " [-1. ]",
        " [-1. ]]",
        "Result for output key ids:",
        "[[                  1                  -2 4611686018427387904]",
        " [                 -1                  -1                  -1]",
        " [                 -1                  -1                  -1]]",
        "Result for output key name:",
        "[b'Ada; Lovelace' b'\\xff' b'']",
    ]


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG file."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, rows: bytes) -> bytes:
    """A grey PNG file."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + data


def test_images(run: Run) -> None:
    """Pixels for a signature that takes numbers, the file for one that takes strings."""
    pytest.importorskip("PIL")
    Path("x.png").write_bytes(png(2, 1, b"\x00\x00\xff"))
    status, out, err = run("image_decode", "--inputs", "data=x.png", signature="decode")
    assert (status, err) == (0, "")
    assert "255" in out
    for dtype, one in (("uint8", "255"), ("float32", "1."), ("int32", "255")):
        status, out, _ = run("dtype_identity", "--inputs", "x=x.png", signature=dtype)
        assert status == 0
        black, white = out.partition("\n")[2].split("]\n")[:2]
        assert black.strip("[ ").split() == ["0" + one[len(one.rstrip(".")) :]] * 3
        assert white.strip("[] ").split() == [one] * 3
    # Of the signature's size and channels.
    assert run("keras_cnn", "--inputs", "image=x.png")[0] == 0
    refused(
        run("dtype_identity", "--inputs", "x=x.png", signature="bool"), "an image is an input of"
    )


def test_hostile_images(run: Run) -> None:
    image = pytest.importorskip("PIL.Image")
    Path("bomb.png").write_bytes(png(60000, 60000, bytes(10**6)))
    Path("cut.png").write_bytes(png(200, 200, b"")[:60])
    Path("empty.png").write_bytes(b"")
    postscript = io.BytesIO()
    image.new("RGB", (1, 1)).save(postscript, "EPS")
    Path("postscript.png").write_bytes(postscript.getvalue())
    for file, message in {
        "bomb.png": "could be decompression bomb",
        "cut.png": "no image that can be read",
        "empty.png": "no image that can be read: cannot identify",
        "postscript.png": "no image that can be read: cannot identify",
    }.items():
        refused(run("keras_cnn", "--inputs", f"image={file}"), message)


def test_sound(run: Run) -> None:
    soundfile = pytest.importorskip("soundfile")
    tone = np.array([0, 0.5, -0.5, 0.25])
    soundfile.write("x.wav", tone, 8000)
    soundfile.write("stereo.wav", np.stack([tone, tone * 0], axis=1), 8000)
    soundfile.write("huge.flac", tone, 8000)
    status, out, _ = run("dtype_identity", "--inputs", "x=x.wav", signature="float32")
    assert (status, out) == (0, "Result for output key y:\n[ 0.    0.5  -0.5   0.25]\n")
    status, out, _ = run("dtype_identity", "--inputs", "x=stereo.wav", signature="float32")
    assert (status, out) == (0, "Result for output key y:\n[ 0.     0.25  -0.25   0.125]\n")
    content = bytearray(Path("huge.flac").read_bytes())
    content[21] |= 0x0F  # The number of samples, of 36 bits.
    content[22:26] = b"\xff" * 4
    Path("huge.flac").write_bytes(content)
    refused(
        run("dtype_identity", "--inputs", "x=huge.flac", signature="float32"),
        "no sound that can be read: it claims 68,719,476,735 samples",
    )


def test_without_the_media_extra(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("PIL", "soundfile"):
        monkeypatch.setitem(sys.modules, module, None)
    for file in ("x.png", "x.wav"):
        Path(file).write_bytes(b"?")
        refused(run("keras_cnn", "--inputs", f"image={file}"), r"pip install 'savedmodel\[media\]'")


@pytest.mark.parametrize(
    "key",
    [
        "",
        ".",
        "..",
        "../../x",
        "/etc/x",
        "a/b",
        "a\\b",
        "a\x00b",
        "\x1b[2J",
        "%2F",
        "x.npy",
        "ü模",
        " ",
    ],
)
def test_file_names_stay_in_the_folder(key: str) -> None:
    name = file_name(key)
    assert name == Path(name).name
    assert name.isprintable()
    assert name not in (".", "..")
    assert name.endswith(".npy")


def test_file_names_differ() -> None:
    keys = ["a/b", "a%2Fb", "a%252Fb", "a_b", "a\x2fb ", "", "%", "%25", "\n", "%0A"]
    assert len({file_name(key) for key in keys}) == len(keys)
    assert file_name("output_0") == "output_0.npy"


def test_hostile_output_keys(run: Run, models: Path) -> None:
    """tf1_odd_names and odd_names have outputs called '', 'x/y' and the like."""
    inputs = "args=1;inputs=1;kwargs=1;match=1;name=1;signature=1;x/y=1"
    exprs = ["--input_exprs", inputs, "--outdir", "out"]
    status, out, _ = run("odd_names", *exprs, signature="odd/signature key")
    assert status == 0
    assert sorted(path.name for path in Path().rglob("*")) == sorted(
        ["out", ".npy", "a b.npy", "class.npy", "return.npy", "x%2Fy.npy", "ünï.npy"]
    )
    assert "Output x/y is saved to out/x%2Fy.npy" in out


def renamed(models: Path, key: bytes, folder: Path) -> Path:
    """A copy of keras_mlp, of which an output has another key of eight bytes."""
    path = shutil.copytree(models / "keras_mlp" / "saved_model", folder)
    file = path / "saved_model.pb"
    # In the signatures: the key of a map entry.
    file.write_bytes(
        file.read_bytes().replace(b"\x0a\x08output_0\x12", b"\x0a\x08" + key + b"\x12")
    )
    return path


def test_control_characters_and_paths_in_keys(
    models: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a" / "b")
    for key, shown, file in (
        (b"../../xy", "../../xy", "..%2F..%2Fxy.npy"),
        (b"\x1b[2J\x07\x9f"[:5] + b"abc", "\\x1b[2J\\x07abc", "%1B[2J%07abc.npy"),
    ):
        path = renamed(models, key, tmp_path / file)
        chosen = ["--dir", str(path), "--signature_def", "serving_default", *ONES]
        assert main(["run", *chosen, "--outdir", "."]) == 0
        out = capsys.readouterr().out
        assert out.startswith(f"Result for output key {shown}:\n")
        assert all(line.isprintable() for line in out.splitlines())
        assert [each.name for each in Path().iterdir()] == [file]
        Path(file).unlink()
    assert sorted(each.name for each in (tmp_path / "a").iterdir()) == ["b"]


def test_outputs_are_overwritten_only_when_asked_to(run: Run) -> None:
    assert run("keras_mlp", *ONES, "--outdir", "deep/er")[0] == 0
    saved = Path("deep/er/output_0.npy")
    before = saved.read_bytes()
    refused(run("keras_mlp", *ONES, "--outdir", "deep/er"), "already exists. Add --overwrite")
    zeros = ["--input_exprs", "features=np.zeros((1, 4))"]
    assert run("keras_mlp", *zeros, "--outdir", "deep/er", "--overwrite")[0] == 0
    assert saved.read_bytes() != before
    assert [path.name for path in saved.parent.iterdir()] == ["output_0.npy"]


def test_links_are_replaced_and_not_followed(run: Run) -> None:
    for target in ("elsewhere.npy", "absent.npy"):
        Path("elsewhere.npy").write_text("mine")
        shutil.rmtree("out", ignore_errors=True)
        Path("out").mkdir()
        Path("out/output_0.npy").symlink_to(f"../{target}")
        refused(run("keras_mlp", *ONES, "--outdir", "out"), "already exists")
        assert run("keras_mlp", *ONES, "--outdir", "out", "--overwrite")[0] == 0
        assert not Path("out/output_0.npy").is_symlink()
        assert Path("elsewhere.npy").read_text() == "mine"
        assert not Path("absent.npy").exists()


def test_the_folder_is_checked_before_anything_is_run(run: Run) -> None:
    Path("file").write_text("")
    refused(run("keras_mlp", *ONES, "--outdir", "file"), "--outdir file: file is no directory")
    refused(run("keras_mlp", *ONES, "--outdir", "file/x"), "--outdir file/x: file is no directory")
    Path("out/output_0.npy").mkdir(parents=True)
    for more in ([], ["--overwrite"]):
        refused(run("keras_mlp", *ONES, "--outdir", "out", *more), "output_0.npy is a directory")


def test_fetch_inside_of_functions(run: Run) -> None:
    status, out, _ = run("keras_mlp", *ONES, "--fetch", "*/Softmax", "--outdir", "out")
    assert status == 0
    name = re.search(r"Result for tensor (\S+Softmax:0):", out)
    assert name
    output, softmax = (np.load(Path("out") / f) for f in ("output_0.npy", file_name(name[1])))
    np.testing.assert_array_equal(softmax, output)
    # The outputs are those of a run without --fetch.
    assert out.startswith(f"Result for output key output_0:\n{output}\n")
    assert run("keras_mlp", *ONES, "--fetch", name[1])[1].endswith(f"{name[1]}:\n{softmax}\n")
    # All of them; resources and nodes without an output are passed over.
    status, out, _ = run("keras_mlp", *ONES, "--fetch", "*")
    assert status == 0
    assert out.count("Result for tensor") > 5


def test_fetch_computes_everything_once(run: Run) -> None:
    """What `add` adds to the counter is added once."""
    plain = run("counter", "--input_exprs", "by=2", signature="add")[1]
    fetched = run("counter", "--input_exprs", "by=2", "--fetch", "*", signature="add")[1]
    assert fetched.startswith(plain)
    assert len(fetched) > len(plain)


def test_examples_of_the_guide(models: Path, tmp_path: Path) -> None:
    """The command lines of the SavedModel guide, for a model of ours, as a shell runs them."""
    model = models / "keras_cnn" / "saved_model"
    command = f"savedmodel run --dir '{model}' --tag_set serve --signature_def serving_default"
    np.save(tmp_path / "image.npy", np.ones((1, 12, 12, 3)))
    np.savez(tmp_path / "images.npz", image=np.ones((1, 12, 12, 3)))
    printed = set()
    for inputs in (
        "--input_exprs 'image=np.ones((1,12,12,3))'",
        "--inputs image=image.npy --outdir out",
        "--inputs 'image=images.npz[image]' --outdir out --overwrite",
    ):
        done = subprocess.run(
            f"{command} {inputs}", shell=True, capture_output=True, text=True, cwd=tmp_path
        )
        assert (done.returncode, done.stderr) == (0, "")
        printed.add(re.sub("Output .* is saved to .*\n", "", done.stdout))
    assert len(printed) == 1
