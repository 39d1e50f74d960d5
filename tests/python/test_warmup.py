"""`load(..., warmup=True)` replays the warmup requests of TensorFlow Serving."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import savedmodel
from conftest import DIGITS, generate_models

REPLAYED = [
    "predict",
    "default_signature",
    "output_filter",
    "predict_examples",
    "classify",
    "regress_with_context",
    "multi_inference",
    "no_log",
    "no_record",
    "thousand_records",
]

# Case: the error, what its message says.
BROKEN: dict[str, tuple[type[savedmodel.SavedModelError], list[str]]] = {
    "second_record_unknown_signature": (
        savedmodel.InvalidArgumentError,
        ["record 2 (a predict log)", "no signature 'absent'", "'serving_default'"],
    ),
    "unknown_input": (savedmodel.InvalidArgumentError, ["record 1", "no input 'z'"]),
    "unknown_output": (savedmodel.InvalidArgumentError, ["record 1", "no output 'absent'"]),
    "wrong_dtype": (savedmodel.InvalidArgumentError, ["input 'x'", "expected float32", "int32"]),
    "wrong_rank": (savedmodel.InvalidArgumentError, ["input 'x'", "expected float32"]),
    "graph_error": (savedmodel.InvalidArgumentError, ["record 1", "signature 'examples'"]),
    "examples_for_floats": (
        savedmodel.InvalidArgumentError,
        ["a classify log", "signature 'serving_default'", "expected one input, of strings"],
    ),
    "no_example": (savedmodel.InvalidArgumentError, ["record 1 (a classify log)", "no example"]),
    "no_input": (savedmodel.InvalidArgumentError, ["record 1 (a regress log)", "no example"]),
    "session_run": (savedmodel.UnimplementedError, ["record 1 (a session-run log)", "predict"]),
    "predict_streamed": (savedmodel.UnimplementedError, ["a predict-streamed log"]),
    "thousand_and_one_records": (savedmodel.InvalidArgumentError, ["at most 1000 records"]),
    "not_a_message": (savedmodel.DataLossError, ["record 1", "cannot be parsed"]),
    "tensor_not_a_message": (savedmodel.DataLossError, ["input 'x'", "cannot be parsed"]),
    "negative_tensor": (savedmodel.InvalidArgumentError, ["input 'x'", "-5"]),
    "huge_tensor": (savedmodel.InvalidArgumentError, ["input 'x'", "[1099511627776]", "2 GiB"]),
    "overflowing_tensor": (savedmodel.InvalidArgumentError, ["input 'x'"]),
    "tensor_of_no_dtype": (savedmodel.InvalidArgumentError, ["input 'x' has dtype 0"]),
    "tensor_of_resources": (savedmodel.InvalidArgumentError, ["input 'x' has dtype 20"]),
    "tensor_of_strange_dtype": (savedmodel.InvalidArgumentError, ["input 'x' has dtype 99"]),
    "tensor_content_of_wrong_size": (savedmodel.DataLossError, ["input 'x'", "do not fit"]),
}


@pytest.fixture(scope="module")
def warmup_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the models of tests/models/warmup.py."""
    return generate_models("warmup.py", tmp_path_factory.mktemp("warmup"))


def requests_file(model: Path) -> Path:
    return model / "assets.extra" / "tf_serving_warmup_requests"


def test_every_case_is_tested(warmup_models: Path) -> None:
    cases = {path.name for path in warmup_models.iterdir() if path.is_dir()}
    assert cases == {*REPLAYED, *BROKEN, "none"}
    assert sorted(json.loads((warmup_models / "expected.json").read_text())) == sorted(REPLAYED)


@pytest.mark.parametrize("case", REPLAYED)
def test_requests_are_replayed(warmup_models: Path, case: str) -> None:
    expected = json.loads((warmup_models / "expected.json").read_text())[case]
    with savedmodel.load(warmup_models / case, warmup=True) as model:
        assert model.signatures["read"]() == expected
        phase = model.load_report["warmup"]
        assert phase.seconds >= 0
        assert phase.bytes == requests_file(warmup_models / case).stat().st_size


def test_only_when_asked(warmup_models: Path) -> None:
    with savedmodel.load(warmup_models / "predict") as model:
        assert model.signatures["read"]() == {"total": 0, "count": 0}
        assert "warmup" not in model.load_report


@pytest.mark.parametrize("case", BROKEN)
def test_what_cannot_be_replayed(warmup_models: Path, case: str) -> None:
    error, parts = BROKEN[case]
    with pytest.raises(error) as raised:
        savedmodel.load(warmup_models / case, warmup=True)
    for part in [str(requests_file(warmup_models / case)), *parts]:
        assert part in str(raised.value)
    # Warmup apart, the model is sound.
    savedmodel.load(warmup_models / case).close()


def test_model_without_requests() -> None:
    with savedmodel.load(DIGITS, warmup=True) as model:
        assert model.load_report["warmup"].bytes == 0


def test_damaged_files(warmup_models: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(warmup_models / "predict", model)
    file = requests_file(model)
    sound = file.read_bytes()
    savedmodel.load(model, warmup=True).close()
    # A length that TensorFlow's own reader would allocate, a byte flipped, an end cut off.
    damaged = [b"\xff" * 7 + b"\x7f" + sound[8:], b"no records"]
    damaged += [sound[:size] for size in range(1, len(sound), 7)]
    damaged += [
        sound[:at] + bytes([sound[at] ^ 64]) + sound[at + 1 :] for at in range(0, len(sound), 7)
    ]
    for content in damaged:
        file.write_bytes(content)
        with pytest.raises(savedmodel.DataLossError, match=r"record 1.*TFRecords"):
            savedmodel.load(model, warmup=True)
    file.unlink()
    file.mkdir()
    with pytest.raises(savedmodel.PermissionDeniedError, match="cannot be read"):
        savedmodel.load(model, warmup=True)
