"""The two published models of the examples, against TensorFlow, and the examples themselves."""

from __future__ import annotations

import importlib
import pickle
import re
import shutil
import subprocess
import sys
import wave
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest

import savedmodel
from conftest import EXAMPLES, ROOT, run_example

sys.path.insert(0, str(EXAMPLES))
fetch_models = importlib.import_module("fetch_models")

NAMES = ("basic-pitch", "guesslang")
ALL_FOUND = "8 of 8 notes found, 0 found that were not played"


@pytest.fixture(scope="module")
def models() -> dict[str, Path]:
    """The SavedModel directory of each published model."""
    try:
        return {name: fetch_models.fetch(name) for name in NAMES}
    except fetch_models.DownloadError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def records(models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What TensorFlow answers, by model; see tests/models/published.py."""
    out = tmp_path_factory.mktemp("published")
    command = [sys.executable, str(ROOT / "tests" / "models" / "published.py"), str(out)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return {name: pickle.loads((out / f"{name}.pkl").read_bytes()) for name in models}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("optimize", ["none", "default"])
def test_answers_are_those_of_tensorflow(name: str, optimize: str, records: dict[str, Any]) -> None:
    record = records[name]
    tags = record["calls"][0]["tags"]
    with savedmodel.load(record["path"], tags=tags, optimize=optimize) as model:
        assert {call["signature"] for call in record["calls"]} == set(model.signatures)
        for call in record["calls"]:
            outputs = model.signatures[call["signature"]](**call["inputs"])
            assert set(outputs) == set(call["outputs"])
            for key, expected in call["outputs"].items():
                assert outputs[key].dtype == expected.dtype
                if optimize == "none" or expected.dtype.kind != "f":
                    # Bit-equal: both run the same kernels in the same library.
                    np.testing.assert_array_equal(outputs[key], expected, strict=True)
                else:
                    # basic-pitch takes the logarithm of what is nearly zero.
                    np.testing.assert_allclose(outputs[key], expected, rtol=0, atol=2e-3)


def test_single_outputs_equal_those_of_all(records: dict[str, Any]) -> None:
    record = records["guesslang"]
    call = next(call for call in record["calls"] if call["signature"] == "predict")
    with savedmodel.load(record["path"]) as model:
        for key, expected in call["outputs"].items():
            outputs = model.signatures["predict"].run(call["inputs"], outputs=key)
            assert list(outputs) == [key]
            np.testing.assert_array_equal(outputs[key], expected, strict=True)


@pytest.mark.usefixtures("models")
def test_basic_pitch_finds_the_melody() -> None:
    printed = run_example("basic_pitch.py")
    assert ALL_FOUND in printed
    assert "missed" not in printed
    # All windows are read in place.
    assert re.search(r"^copied +0 arrays$", printed, flags=re.MULTILINE)


@pytest.mark.usefixtures("models")
def test_basic_pitch_reads_a_wav_file(tmp_path: Path) -> None:
    basic_pitch = importlib.import_module("basic_pitch")
    rate = 44100
    notes = [basic_pitch.Note(0.2, 0.9, 57), basic_pitch.Note(1.0, 1.8, 64)]
    mono = basic_pitch.synthesise(notes, rate)
    # 24 bits and two channels, the second of them silent.
    values = np.stack([np.round(mono * (2**23 - 1)).astype("<i4"), np.zeros(len(mono), "<i4")], 1)
    path = tmp_path / "two_notes.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(3)
        file.setframerate(rate)
        file.writeframes(values.reshape(-1, 1).view(np.uint8)[:, :3].tobytes())
    assert len(basic_pitch.read_wav(path)) == round(len(mono) / 2)

    printed = run_example("basic_pitch.py", str(path))
    found = re.findall(r"^  (\S+) +([\d.]+) to ([\d.]+) s$", printed, flags=re.MULTILINE)
    assert [name for name, _, _ in found] == ["A3", "E4"]
    times = [float(time) for _, start, end in found for time in (start, end)]
    np.testing.assert_allclose(times, [0.2, 0.9, 1.0, 1.8], atol=0.1)


@pytest.mark.usefixtures("models")
def test_guesslang_knows_its_snippets() -> None:
    guesslang = importlib.import_module("guesslang")
    lines = run_example("guesslang.py").splitlines()
    for language in guesslang.SNIPPETS:
        likeliest = lines[lines.index(language) + 1]
        assert likeliest.split("% ")[1] == language


@pytest.mark.usefixtures("models")
def test_guesslang_reads_files(tmp_path: Path) -> None:
    binary = tmp_path / "not_utf8"
    binary.write_bytes(bytes(range(256)))
    source = ROOT / "python" / "savedmodel" / "model.py"
    lines = run_example("guesslang.py", str(source), str(binary)).splitlines()
    assert lines[lines.index(str(source)) + 1].endswith("100.0% Python")
    assert str(binary) in lines


def test_fetch_models_prints_the_folders(models: dict[str, Path]) -> None:
    assert run_example("fetch_models.py").splitlines() == [str(models[name]) for name in NAMES]
    assert run_example("fetch_models.py", "guesslang") == f"{models['guesslang']}\n"
    assert all(savedmodel.contains_saved_model(str(path)) for path in models.values())


@pytest.mark.usefixtures("models")
def test_fetch_models_refuses_another_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAVEDMODEL_EXAMPLES_CACHE", str(tmp_path))
    other = fetch_models.PACKAGES["basic-pitch"]._replace(sha256="0" * 64)
    monkeypatch.setitem(fetch_models.PACKAGES, "basic-pitch", other)
    with pytest.raises((ValueError, fetch_models.DownloadError)) as caught:
        fetch_models.fetch("basic-pitch")
    if isinstance(caught.value, fetch_models.DownloadError):
        pytest.skip(str(caught.value))
    assert re.search(r"basic_pitch.*: expected sha256 000", str(caught.value))
    assert list(tmp_path.iterdir()) == []


def test_fetch_models_stays_inside_its_folder(tmp_path: Path) -> None:
    wheel = tmp_path / "bad.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("elsewhere/file", "not taken")
        archive.writestr("model/../../outside", "bad")
    with pytest.raises(ValueError, match="leads out of the folder"):
        fetch_models._unpack(wheel, PurePosixPath("model"), tmp_path / "target")
    assert [path.name for path in tmp_path.iterdir()] == ["bad.whl"]


@pytest.mark.skipif(shutil.which("cmake") is None, reason="needs CMake and a C++ compiler")
def test_cpp_example_against_the_installed_package(models: dict[str, Path], tmp_path: Path) -> None:
    build = tmp_path / "build"
    configure = ["cmake", "-S", str(EXAMPLES), "-B", str(build)]
    configure.append(f"-Dsavedmodel_DIR={savedmodel.get_cmake_dir()}")
    for command in (configure, ["cmake", "--build", str(build)]):
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stdout + result.stderr
    result = subprocess.run(
        [str(build / "basic_pitch"), str(models["basic-pitch"])],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert ALL_FOUND in result.stdout
