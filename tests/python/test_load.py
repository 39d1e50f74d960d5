"""Finding and loading a model: paths, versions, tags, what the model says of itself."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import savedmodel
from conftest import DIGITS, run_python, with_engine

IMAGE = np.zeros((1, 8, 8, 1), np.float32)


def test_model_describes_itself(digits: savedmodel.Model) -> None:
    assert digits.path == str(DIGITS)
    assert digits.tags == {"serve"}
    assert list(digits.signatures) == ["serve", "serving_default"]
    assert len(digits.signatures) == 2
    assert digits.assets == {}
    assert digits.extra_assets == []
    assert [device.device_type for device in digits.devices] == ["CPU"]
    signature = digits.signatures["serving_default"]
    assert signature is digits.signatures["serving_default"]
    assert signature.name == "serving_default"
    assert signature.method_name == "tensorflow/serving/predict"
    assert signature.inputs == {
        "image": savedmodel.TensorSpec(
            "serving_default_image:0", np.dtype("float32"), (None, 8, 8, 1)
        )
    }
    assert signature.outputs["probabilities"].shape == (None, 10)
    assert "'serving_default'" in repr(signature)
    assert "float32 (None, 8, 8, 1)" in repr(signature)
    assert str(DIGITS) in repr(digits)


def test_load_report(digits: savedmodel.Model) -> None:
    report = digits.load_report
    phases = [phase for phase in report if phase != "optimize"]  # with the engine alone
    assert phases == ["library", "read", "create", "restore", "init"]
    assert all(phase.seconds >= 0 for phase in report.values())
    assert report["read"].bytes == (DIGITS / "saved_model.pb").stat().st_size
    assert report["restore"].bytes == report.bytes_restored
    # A Keras export holds each weight twice.
    data = next((DIGITS / "variables").glob("*.data-*")).stat().st_size
    assert data / 2 < report.bytes_restored + report.bytes_saved < data
    assert data / 3 < report.bytes_restored < data / 2
    assert report.repairs == []


def test_fingerprint(digits: savedmodel.Model, load: Callable[..., savedmodel.Model]) -> None:
    fingerprint = digits.fingerprint
    assert fingerprint is not None
    assert fingerprint.saved_model_checksum != 0
    assert fingerprint.version_producer >= 1
    assert load("tf1_two_tag_sets", tags="serve").fingerprint is None


def test_assets(load: Callable[..., savedmodel.Model]) -> None:
    model = load("vocabulary_asset")
    assert model.assets
    for name, path in model.assets.items():
        assert Path(path).name == name
        assert Path(path).is_file()
    extra = load("assets_extra").extra_assets
    assert extra == sorted(extra)
    assert extra
    assert all(Path(path).is_file() for path in extra)


@pytest.fixture
def versions(tmp_path: Path) -> Path:
    for number in ("1", "9", "10", "007"):
        shutil.copytree(DIGITS, tmp_path / number)
    (tmp_path / "99").mkdir()  # a version that is still being copied
    (tmp_path / "latest").mkdir()
    (tmp_path / "5.txt").write_text("not a directory")
    return tmp_path


def test_the_highest_version_is_loaded(versions: Path) -> None:
    with savedmodel.load(versions) as model:
        assert model.path == str(versions / "10")


@pytest.mark.parametrize(("version", "folder"), [(9, "9"), (7, "007"), (1, "1")])
def test_a_version_can_be_asked_for(versions: Path, version: int, folder: str) -> None:
    with savedmodel.load(versions, version=version) as model:
        assert model.path == str(versions / folder)


def test_a_version_that_is_not_there(versions: Path) -> None:
    with pytest.raises(savedmodel.NotFoundError, match=r"no version 3 under.*versions there: "):
        savedmodel.load(versions, version=3)


@pytest.mark.parametrize("kind", [str, Path, lambda path: str(path) + "/"])
def test_kinds_of_path(kind: Callable[[Path], str | Path]) -> None:
    with savedmodel.load(kind(DIGITS)) as model:
        assert model.signatures


def test_a_relative_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(DIGITS.parent)
    with savedmodel.load("digits") as model:
        assert model.signatures["serve"](IMAGE)


def test_a_path_that_is_not_unicode(tmp_path: Path) -> None:
    folder = bytes(tmp_path) + b"/m\xff\xe9"
    shutil.copytree(bytes(DIGITS), folder)
    import os

    path = os.fsdecode(folder)
    with savedmodel.load(path) as model:
        assert model.path == path
        with pytest.raises(ValueError, match="xff"):
            model.signatures["serve"].run({"y": IMAGE})


def test_tags(load: Callable[..., savedmodel.Model]) -> None:
    default = load("tf1_two_tag_sets")
    assert default.tags == {"serve"}
    assert load("tf1_two_tag_sets", tags=["gpu", "serve"]).tags == {"serve", "gpu"}
    assert load("tf1_two_tag_sets", tags=(t for t in ("serve", "gpu"))).tags == {"serve", "gpu"}
    assert "serve" not in load("tf1_train_tag_only").tags, "the only MetaGraph"


def test_tags_that_are_not_there() -> None:
    with pytest.raises(
        savedmodel.NotFoundError, match=r"no MetaGraph with the tag set \{'gpu'\}.*\{'serve'\}"
    ):
        savedmodel.load(DIGITS, tags=["gpu"])
    with pytest.raises(TypeError, match="tags"):
        savedmodel.load(DIGITS, tags=[1])  # type: ignore[list-item]


def test_signatures_are_a_mapping(digits: savedmodel.Model) -> None:
    assert "serve" in digits.signatures
    assert "nope" not in digits.signatures
    assert digits.signatures.get("nope") is None
    with pytest.raises(KeyError) as caught:
        digits.signatures["serving_defualt"]
    message = str(caught.value)
    assert isinstance(caught.value, savedmodel.UnknownSignatureError)
    assert isinstance(caught.value, ValueError)
    assert "did you mean 'serving_default'?" in message
    assert "Signatures: 'serve', 'serving_default'" in message
    with pytest.raises(TypeError):
        digits.signatures[1]  # type: ignore[index]


def test_contains_saved_model(tmp_path: Path, models: Path) -> None:
    assert savedmodel.contains_saved_model(DIGITS)
    assert savedmodel.contains_saved_model(models / "pbtxt_form" / "saved_model")
    assert not savedmodel.contains_saved_model(tmp_path)
    assert not savedmodel.contains_saved_model(tmp_path / "absent")


def test_close(load: Callable[..., savedmodel.Model]) -> None:
    model = savedmodel.load(DIGITS)
    signature = model.signatures["serve"]
    bound = signature.bind(savedmodel.aligned_empty((1, 8, 8, 1)))
    session = model.session
    call = session.make_callable(["serve_image:0"], ["StatefulPartitionedCall:0"])
    model.close()
    model.close()
    uses: list[Callable[[], object]] = [
        lambda: signature(IMAGE),
        lambda: signature.run({"image": IMAGE}),
        lambda: model.signatures["serving_default"](IMAGE),
        bound,
        lambda: call(IMAGE),
        lambda: session.run({}, ["StatefulPartitionedCall:0"]),
        lambda: session.list_devices(),
        lambda: model.run("StatefulPartitionedCall:0"),
        lambda: model.bundle.meta_graph_def,
        lambda: model.devices,
    ]
    for use in uses:
        with pytest.raises(savedmodel.FailedPreconditionError, match=r"digits' is closed"):
            use()
    assert model.path == str(DIGITS)
    assert signature.inputs
    with savedmodel.load(DIGITS) as again:
        assert again.signatures["serve"](IMAGE)
    with pytest.raises(savedmodel.FailedPreconditionError):
        again.signatures["serve"](IMAGE)


def test_pickle(digits: savedmodel.Model, tmp_path: Path) -> None:
    with savedmodel.load(
        DIGITS,
        session_options=savedmodel.SessionOptions(intra_op_parallelism_threads=1),
        run_options=savedmodel.RunOptions(timeout_in_ms=60_000),
    ) as model:
        expected = model.signatures["serve"](IMAGE)["probabilities"]
        sent = pickle.dumps(model)
    with pickle.loads(sent) as received:
        np.testing.assert_array_equal(
            received.signatures["serve"](IMAGE)["probabilities"], expected
        )
        assert received._native.session_options.intra_op_parallelism_threads == 1
        assert received._native.run_options.timeout_in_ms == 60_000


def test_pickle_of_a_model_that_was_replaced(tmp_path: Path) -> None:
    shutil.copytree(DIGITS, tmp_path / "m")
    with savedmodel.load(tmp_path / "m") as model:
        sent = pickle.dumps(model)
    (tmp_path / "m" / "fingerprint.pb").unlink()
    with pytest.raises(savedmodel.FailedPreconditionError, match="not the one that was pickled"):
        pickle.loads(sent)


def test_import_loads_nothing_of_tensorflow() -> None:
    done = run_python(
        """
import sys
from pathlib import Path
import savedmodel
dir(savedmodel), savedmodel.__version__, savedmodel.NotFoundError, savedmodel.TensorSpec
maps = Path("/proc/self/maps").read_text()
assert "tensorflow" not in maps and "savedmodel" not in maps, maps
assert not any(name.split(".")[0] == "tensorflow" for name in sys.modules)
assert "numpy" not in sys.modules
"""
    )
    assert done.returncode == 0, done.stderr


def test_loading_imports_no_python_of_tensorflow_and_logs_nothing() -> None:
    done = run_python(
        """
import sys
from pathlib import Path
import savedmodel, numpy as np
savedmodel.SessionOptions()
assert "libtensorflow_cc" not in Path("/proc/self/maps").read_text(), "comes with a model"
with savedmodel.load(sys.argv[1], optimize="none") as model:
    model.signatures["serve"](np.zeros((1, 8, 8, 1), np.float32))
assert "libtensorflow_cc" in Path("/proc/self/maps").read_text()
assert not any(name.split(".")[0] in ("tensorflow", "keras") for name in sys.modules)
""",
        str(DIGITS),
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout == ""


@with_engine
@pytest.mark.parametrize("name", ["keras_cnn", "shared_variables"])
def test_what_the_engine_answers_alone_needs_no_session(models: Path, name: str) -> None:
    """Nor the library that it is in; both come when they are needed, with the same variables."""
    done = run_python(
        """
import sys
from pathlib import Path
import savedmodel, numpy as np

def loaded() -> bool:
    return "libtensorflow_cc" in Path("/proc/self/maps").read_text()

with savedmodel.load(sys.argv[1]) as model:
    signature = model.signatures["serving_default"]
    inputs = {
        key: np.random.default_rng(0).random([d or 2 for d in spec.shape]).astype(spec.dtype)
        for key, spec in signature.inputs.items()
    }
    before = signature.run(inputs)
    assert signature.runner.name == "engine" and not loaded()
    fetches = [spec.name for spec in signature.outputs.values()]
    feeds = {spec.name: inputs[key] for key, spec in signature.inputs.items()}
    in_session = model.session.run(feeds, fetches)
    assert loaded()
    for ours, theirs in zip(before.values(), in_session):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    for variable in model.variables:
        value = variable.numpy()
        if value.dtype == np.float32:
            variable.assign(2 * value + 1)
    after = signature.run(inputs)
    in_session = model.session.run(feeds, fetches)
    for was, ours, theirs in zip(before.values(), after.values(), in_session):
        assert not np.array_equal(was, ours)
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
""",
        str(models / name / "saved_model"),
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("first", ["savedmodel", "tensorflow"])
def test_lives_together_with_tensorflow(first: str) -> None:
    done = run_python(
        f"""
import sys, warnings
warnings.simplefilter("ignore")
import numpy as np
image = np.zeros((1, 8, 8, 1), np.float32)
def ours():
    import savedmodel
    with savedmodel.load(sys.argv[1]) as model:
        return model.signatures["serve"](image)["probabilities"]
def theirs():
    import tensorflow as tf
    loaded = tf.saved_model.load(sys.argv[1])
    return loaded.signatures["serve"](image=tf.constant(image))["probabilities"].numpy()
order = [ours, theirs] if {first!r} == "savedmodel" else [theirs, ours]
answers = [f() for f in order] + [f() for f in order]
for answer in answers:
    np.testing.assert_allclose(answer, answers[0], rtol=1e-5)
""",
        str(DIGITS),
    )
    assert done.returncode == 0, done.stderr


def test_without_tensorflow_the_error_says_what_to_install() -> None:
    done = run_python(
        """
import sys
class Hide:
    def find_spec(self, name, path=None, target=None):
        if name == "tensorflow":
            raise ModuleNotFoundError(name)
import importlib.util
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, *a: None if name == "tensorflow" else real(name, *a)
import savedmodel
try:
    savedmodel.load("anything")
except ImportError as error:
    print(error)
"""
    )
    assert 'pip install "savedmodel[cpu]"' in done.stdout, done.stderr
    assert 'pip install "savedmodel[gpu]"' in done.stdout
    assert "none is installed" in done.stdout


@pytest.mark.parametrize("distribution", ["tensorflow", "tensorflow_cpu"])
def test_another_version_of_tensorflow_is_refused(tmp_path: Path, distribution: str) -> None:
    (tmp_path / "tensorflow").mkdir()
    (tmp_path / "tensorflow" / "__init__.py").touch()
    (tmp_path / f"{distribution}-2.99.0.dist-info").mkdir()
    done = run_python(
        """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import savedmodel
try:
    savedmodel.load("anything")
except ImportError as error:
    print(error)
assert "libtensorflow" not in Path("/proc/self/maps").read_text()
""",
        str(tmp_path),
    )
    assert done.returncode == 0, done.stderr
    assert "2.99.0" in done.stdout
    assert 'pip install "savedmodel[cpu]"' in done.stdout


def test_log_level() -> None:
    code = """
import sys, savedmodel
if sys.argv[2:]: savedmodel.set_log_level(sys.argv[2])
savedmodel.load(sys.argv[1]).close()
"""
    assert run_python(code, str(DIGITS)).stderr == ""
    assert "CPU" in run_python(code, str(DIGITS), "info").stderr
    assert run_python(code, str(DIGITS), "loud").stderr.rstrip().endswith("got 'loud'")
