"""Every example of the command-line section of TensorFlow's SavedModel guide, as a shell runs it.

https://www.tensorflow.org/guide/saved_model#details_of_the_savedmodel_command_line_interface
"""

from __future__ import annotations

import pickle
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from conftest import TensorFlow, generate_models

Shell = Callable[[str], str]


GUIDE_KEYS = (
    "classify_x2_to_y3",
    "classify_x_to_y",
    "regress_x2_to_y3",
    "regress_x_to_y",
    "regress_x_to_y2",
    "serving_default",
)

SERVING_DEFAULT = """\
The given SavedModel SignatureDef contains the following input(s):
  inputs['x'] tensor_info:
      dtype: DT_FLOAT
      shape: (-1, 1)
      name: x:0
The given SavedModel SignatureDef contains the following output(s):
  outputs['y'] tensor_info:
      dtype: DT_FLOAT
      shape: (-1, 1)
      name: y:0
Method name is: tensorflow/serving/predict
"""

RUN = "savedmodel run --dir saved_model_dir --tag_set serve"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the guide calls /tmp: it holds saved_model_dir."""
    return generate_models("guide_command.py", tmp_path_factory.mktemp("guide"))


@pytest.fixture
def shell(folder: Path) -> Shell:
    """What a command line prints; nothing may go to standard error."""

    def run(command: str) -> str:
        done = subprocess.run(command, shell=True, capture_output=True, text=True, cwd=folder)
        assert (done.returncode, done.stderr) == (0, ""), command
        return done.stdout

    return run


def test_tag_sets(shell: Shell) -> None:
    # The guide's text is older than the quotes.
    printed = shell("savedmodel show --dir saved_model_dir").replace("'", "")
    assert printed.splitlines() == [
        "The given SavedModel contains the following tag-sets:",
        "serve",
        "gpu, serve",
    ]


@pytest.mark.parametrize("tag_set", ["serve", "serve,gpu"])
def test_signature_keys(shell: Shell, tag_set: str) -> None:
    printed = shell(f"savedmodel show --dir saved_model_dir --tag_set {tag_set}")
    heading, *keys = printed.splitlines()
    assert heading == (
        "The given SavedModel MetaGraphDef contains SignatureDefs with the following keys:"
    )
    assert {f'SignatureDef key: "{key}"' for key in GUIDE_KEYS} <= set(keys)
    assert (len(keys) == len(GUIDE_KEYS)) == (tag_set == "serve")


def test_signature(shell: Shell) -> None:
    printed = shell(
        "savedmodel show --dir \\\nsaved_model_dir --tag_set serve --signature_def serving_default"
    )
    assert printed == SERVING_DEFAULT


def test_all(shell: Shell, folder: Path, tensorflow_command: TensorFlow) -> None:
    printed = shell("savedmodel show --dir saved_model_dir --all")
    assert "MetaGraphDef with tag-set: 'serve' contains the following SignatureDefs:" in printed
    indented = "".join(f"  {line}\n" for line in SERVING_DEFAULT.splitlines())
    assert f"\nsignature_def['serving_default']:\n{indented}" in printed
    status, theirs = tensorflow_command.saved_model_cli(
        "show", "--dir", str(folder / "saved_model_dir"), "--all"
    )
    without_ops = [
        [line for line in text.splitlines() if "following ops:" not in line]
        for text in (printed, theirs)
    ]
    assert status == 0
    assert without_ops[0] == without_ops[1]


def test_inputs_from_files(shell: Shell, folder: Path) -> None:
    x1, x2 = np.float32([[1], [2], [3]]), np.float32([[4], [5], [6]])
    np.save(folder / "my_data1.npy", x1)
    np.savez(folder / "my_data2.npz", x=x2, other=x1)
    (folder / "my_data3.pkl").write_bytes(pickle.dumps({"y": x2}))
    run = f"{RUN},gpu --signature_def x1_x2_to_y"
    expected = (x1 / 2 + 2) + (x2 / 2 + 3)
    for inputs in (
        "'x1=my_data1.npy;x2=my_data2.npz[x]' --outdir out",
        "'x1=my_data1.npy;x2=my_data3.pkl[y]' --allow-pickle --outdir out --overwrite",
    ):
        printed = shell(f"{run} --inputs {inputs}")
        assert printed == f"Result for output key y:\n{expected}\nOutput y is saved to out/y.npy\n"
        np.testing.assert_array_equal(np.load(folder / "out" / "y.npy"), expected)
        (folder / "out" / "y.npy").write_bytes(b"")


def test_input_exprs(shell: Shell) -> None:
    printed = shell(f"{RUN} --signature_def serving_default --input_exprs 'x=[[1],[2],[3]]'")
    assert printed == "Result for output key y:\n[[2.5]\n [3. ]\n [3.5]]\n"
    printed = shell(
        f"{RUN},gpu --signature_def brightness --input_exprs 'image=np.ones((32,32,3))'"
    )
    assert printed == "Result for output key mean:\n[1. 1. 1.]\n"


def test_input_examples(shell: Shell) -> None:
    printed = shell(
        f"{RUN},gpu --signature_def parse --input_examples "
        '\'examples=[{"age":[22,24],"education":["BS","MS"]}]\''
    )
    assert printed == (
        "Result for output key age:\n[[22 24]]\nResult for output key education:\n[[b'BS' b'MS']]\n"
    )
