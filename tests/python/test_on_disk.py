"""The forms that a SavedModel takes on disk, and the paths that lead to it.

What the models of tests/models/zoo/layout.py and tf1_files.py answer is in test_oracle.py.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

import savedmodel
from chunked import chunked_field, field, highway_hash, riegeli, split, tags, write
from conftest import DIGITS, run_python

IMAGE = np.random.default_rng(0).standard_normal((2, 8, 8, 1)).astype(np.float32)


def answer(path: str | Path) -> np.ndarray:
    with savedmodel.load(path) as model:
        return model.signatures["serve"](IMAGE)["probabilities"]


@pytest.fixture(scope="module")
def expected() -> np.ndarray:
    return answer(DIGITS)


@pytest.mark.parametrize(
    "name",
    [
        b"with spaces",
        "ünïcödé 模型".encode(),
        b"new\nline",
        b"not \xff\xe9 unicode",
        b"percent%20 % %",
        b"file:",
        b"quote'\"",
    ],
)
def test_paths(tmp_path: Path, name: bytes, expected: np.ndarray) -> None:
    folder = os.fsdecode(bytes(tmp_path) + b"/" + name)
    shutil.copytree(DIGITS, folder)
    for path in (folder, f"file://{folder}", f"file://localhost{folder}"):
        np.testing.assert_array_equal(answer(path), expected)
        assert savedmodel.contains_saved_model(path)
        assert savedmodel.inspect(path).path == folder
    with savedmodel.load(f"file://{folder}") as model:
        assert model.path == folder


def test_nothing_in_a_url_is_decoded(tmp_path: Path) -> None:
    """As TensorFlow has it: a file:// URL is a path after a prefix."""
    shutil.copytree(DIGITS, tmp_path / "a b")
    url = f"file://{tmp_path}/a%20b"
    assert not savedmodel.contains_saved_model(url)
    for use in (savedmodel.load, savedmodel.inspect):
        with pytest.raises(savedmodel.NotFoundError, match=f"'{url}'"):
            use(url)
    with pytest.raises(savedmodel.NotFoundError):
        savedmodel.load("file://")


def test_versions_by_url(tmp_path: Path) -> None:
    for version in ("3", "20"):
        shutil.copytree(DIGITS, tmp_path / version)
    assert savedmodel.inspect(f"file://{tmp_path}").path == str(tmp_path / "20")
    with savedmodel.load(f"file://{tmp_path}", version=3) as model:
        assert model.path == str(tmp_path / "3")


def test_text_that_nests_without_end(tmp_path: Path) -> None:
    """The parser of the text form follows it by recursion."""
    depth = 200_000
    nested = "list_value { values { " * depth + "} } " * depth
    (tmp_path / "saved_model.pbtxt").write_text(
        "meta_graphs { object_graph_def { concrete_functions { key: 'f' value { "
        f"canonicalized_input_signature {{ {nested} }} }} }} }} }}"
    )
    code = """
import sys, savedmodel
for use in (savedmodel.inspect, savedmodel.load):
    try: use(sys.argv[1])
    except savedmodel.DataLossError as error: print(error)
"""
    done = run_python(code, str(tmp_path))
    assert done.returncode == 0, done.stderr[-500:]
    assert done.stdout.count("nests messages too deep") == 2


def test_braces_in_text_do_not_nest(models: Path, tmp_path: Path) -> None:
    source = models / "pbtxt_form" / "saved_model"
    shutil.copytree(source, tmp_path / "m")
    file = tmp_path / "m" / "saved_model.pbtxt"
    file.write_text("# " + "{" * 1000 + "\n" + file.read_text())
    assert savedmodel.inspect(tmp_path / "m").format == "pbtxt"
    assert savedmodel.inspect(tmp_path / "m").meta_graphs[0].ops


# saved_model.cpb


def replace_pb(folder: Path, cpb: bytes, source: Path = DIGITS) -> Path:
    """A copy of the model with saved_model.cpb in place of saved_model.pb."""
    shutil.copytree(source, folder)
    (folder / "saved_model.pb").unlink()
    (folder / "saved_model.cpb").write_bytes(cpb)
    return folder


def test_the_hash_is_riegelis() -> None:
    """The file format's documentation gives the first 64 bytes of any file."""
    file, _ = riegeli([])
    assert file.hex() == (
        "83af70d10d884a3f0000000000000000400000000000000091bac23c9287e1a9"
        "0000000000000000e19f13c0e9b1c37273000000000000000000000000000000"
    )
    assert highway_hash(b"") == 0x72C3B1E9C0139FE1


def test_chunked(tmp_path: Path, expected: np.ndarray) -> None:
    chunks, message = split((DIGITS / "saved_model.pb").read_bytes())
    assert len(chunks) > 4
    path = replace_pb(tmp_path / "m", write(chunks, message))
    assert savedmodel.contains_saved_model(path)
    np.testing.assert_array_equal(answer(path), expected)
    inspection, whole = savedmodel.inspect(path), savedmodel.inspect(DIGITS)
    assert inspection.format == "cpb"
    for chunked, original in zip(inspection.meta_graphs, whole.meta_graphs, strict=True):
        assert chunked._replace(signatures={}) == original._replace(signatures={})
        assert chunked.signatures.keys() == original.signatures.keys()


def test_chunked_with_a_large_constant(
    models: Path, tmp_path: Path, calls: Callable[[str], list[dict]]
) -> None:
    """More than a block of the container, and a chunk that is a constant's bytes."""
    source = models / "large_variable" / "saved_model"
    chunks, message = split((source / "saved_model.pb").read_bytes())
    assert max(map(len, chunks)) == 1 << 18
    path = replace_pb(tmp_path / "m", write(chunks, message), source)
    with savedmodel.load(path) as model:
        for call in calls("large_variable"):
            outputs = model.signatures[call["signature"]].run(call["inputs"])
            for name, value in call["outputs"].items():
                np.testing.assert_array_equal(outputs[name], value)


def test_pb_goes_before_cpb(tmp_path: Path) -> None:
    """As for TensorFlow's own loader, which knows no .cpb."""
    shutil.copytree(DIGITS, tmp_path / "m")
    (tmp_path / "m" / "saved_model.cpb").write_bytes(b"junk")
    assert savedmodel.inspect(tmp_path / "m").format == "pb"


def deep(chunk: int) -> bytes:
    message = field(1, chunk)
    for _ in range(200):
        message = field(2, field(3, message))
    return message


CHUNKS: Sequence[bytes] = (b"", field(2, b""), b"\xff not a message", b"text")
CONTRADICTIONS: dict[str, tuple[bytes, str]] = {
    "no such chunk": (field(1, 99), "chunk 99 of 4 is asked for"),
    "a huge chunk index": (field(1, (1 << 64) - 1), "is asked for"),
    "a chunk twice": (field(1, 0) + chunked_field(b"", 0), "chunk 0 is used twice"),
    "not a message": (field(1, 2), "chunk 2 is no tensorflow.SavedModel"),
    "no such field": (chunked_field(tags([77]), 0), "is no field of tensorflow.SavedModel"),
    "an index first": (chunked_field(tags(0), 0), "is no field of"),
    "a number": (chunked_field(tags([1]), 0), "a split at .*schema_version is not supported"),
    "no index": (chunked_field(tags([2]), 0), "which element of .*meta_graphs"),
    "an index too far": (chunked_field(tags([2], 5), 0), "none of the 0 elements"),
    "a huge index": (chunked_field(tags([2], 1 << 62), 0), "none of the 0 elements"),
    "a key of a list": (chunked_field(tags([2], "a"), 0), "none of the 0 elements"),
    "an index of a map": (chunked_field(tags([2], 0, [5], 1), 0), "is not supported"),
    "a field of text": (chunked_field(tags([2], 0, [1], [1], [1]), 3), "is not supported"),
    "text as a message": (chunked_field(tags([2], 0, [1]), 2), "is no tensorflow.MetaGraphDef"),
    "nested too deep": (deep(0), "its last record is no ChunkMetadata"),
    "nothing": (b"", "holds no MetaGraph"),
}


@pytest.mark.parametrize(("message", "match"), CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_chunks_that_contradict_themselves(tmp_path: Path, message: bytes, match: str) -> None:
    path = replace_pb(tmp_path / "m", write(CHUNKS, message))
    with pytest.raises(savedmodel.SavedModelError, match=match) as caught:
        savedmodel.load(path)
    assert f"model '{path}'" in str(caught.value)


def test_broken_containers(tmp_path: Path) -> None:
    """None of these ends the process."""
    chunks, message = split((DIGITS / "saved_model.pb").read_bytes())
    sound = write(chunks, message)
    path = replace_pb(tmp_path / "m", sound)
    file = path / "saved_model.cpb"
    random = np.random.default_rng(3)
    outcomes = set()
    broken = [b"", b"\0" * 64, sound[:63], sound[:64], sound[:100], sound[: len(sound) // 2]]
    broken += [riegeli([])[0], riegeli([b""])[0], riegeli([b"\xff"])[0], sound + b"\0" * 100]
    for _ in range(40):
        damaged = bytearray(sound)
        damaged[int(random.integers(len(sound)))] ^= 1 << int(random.integers(8))
        broken.append(bytes(damaged))
    for content in broken:
        file.write_bytes(content)
        try:
            savedmodel.inspect(path)
        except savedmodel.SavedModelError as error:
            outcomes.add(type(error))
    assert savedmodel.DataLossError in outcomes
    assert outcomes <= {savedmodel.DataLossError, savedmodel.UnimplementedError}
