"""Model.save: what TensorFlow and this package load of it, and what it leaves when it fails."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest

import savedmodel
from conftest import TensorFlow, run_python
from replay import assert_same, recorded, replay, take


def contents(folder: Path) -> dict[str, str]:
    """Every file below a folder, by its hash."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("name", [*recorded("guide"), *recorded("object_graphs")])
def test_round_trip(name: str, models: Path, tensorflow: TensorFlow, tmp_path: Path) -> None:
    """A model whose state its steps have changed, saved: TensorFlow goes on from there as we do."""
    saved = tmp_path / "saved"
    with savedmodel.load(models / name / "saved_model") as model:
        steps = replay(model, models / name)
        model.save(saved)
        expected = tensorflow.evaluate(saved, steps)
        for step, actual, theirs in zip(steps, take(model, steps), expected, strict=True):
            assert_same(actual, theirs, f"the model that was saved: {step}")
    with savedmodel.load(saved) as model:
        for step, actual, theirs in zip(steps, take(model, steps), expected, strict=True):
            assert_same(actual, theirs, f"what was saved: {step}")


def test_a_change_of_each_kind_is_saved(
    models: Path, tensorflow: TensorFlow, tmp_path: Path
) -> None:
    with savedmodel.load(models / "object_graphs" / "state" / "saved_model") as model:
        model.add(np.int64(1))  # a function
        model.signatures["add"](by=np.int64(10))  # a signature
        model.rows.assign(np.float32([[1.0, 2.0]]))
        model.relabel()
        model.save(tmp_path / "saved")
    values = tensorflow.evaluate(tmp_path / "saved", ["model.count", "model.rows", "model.label"])
    assert [value.tolist() for value in values] == [16, [[1.0, 2.0]], b"label!"]


@pytest.mark.parametrize("name", ["tf1_reference_variables", "tf1_partitioned_variables"])
def test_tf1_variables(name: str, models: Path, tensorflow: TensorFlow, tmp_path: Path) -> None:
    step = "model.signatures['serving_default'](constant([[1.0, 0.0], [0.0, 1.0]]))"
    with savedmodel.load(models / "object_graphs" / name / "saved_model") as model:
        for variable in model.variables:
            variable.assign(variable.numpy() * np.float32(2.0) + np.float32(1.0))
        model.save(tmp_path / "saved")
        (ours,) = take(model, [step])
    (theirs,) = tensorflow.evaluate(tmp_path / "saved", [step])
    assert_same(ours, theirs, step)


def test_everything_else_is_kept(models: Path, tmp_path: Path) -> None:
    original, saved = tmp_path / "original", tmp_path / "saved"
    shutil.copytree(models / "object_graphs" / "tables_and_assets" / "saved_model", original)
    (original / "assets.extra").mkdir()
    (original / "assets.extra" / "notes.txt").write_text("by the author")
    with savedmodel.load(original) as model:
        model.save(saved)
        fingerprint = model.fingerprint
    # The source may go: what was saved stands alone.
    shutil.rmtree(original)
    with savedmodel.load(saved) as model:
        assert sorted(model.assets) == ["text.txt", "vocabulary.txt"]
        assert all(Path(path).is_relative_to(saved) for path in model.assets.values())
        assert [Path(path).name for path in model.extra_assets] == ["notes.txt"]
        assert list(model.signatures) == ["find", "get"]
        assert model.text().item() == b"an asset\x00"
        assert fingerprint is not None
        assert model.fingerprint is not None
        for field in ("saved_model_checksum", "graph_def_program_hash", "signature_def_hash"):
            assert getattr(model.fingerprint, field) == getattr(fingerprint, field)


def test_a_model_can_be_saved_over_itself(
    models: Path, tensorflow: TensorFlow, tmp_path: Path
) -> None:
    path = tmp_path / "model"
    shutil.copytree(models / "object_graphs" / "tables_and_assets" / "saved_model", path)
    with savedmodel.load(path) as model:
        for _ in range(2):
            model.save(path)
        assert model.text().item() == b"an asset\x00"
    assert [entry.name for entry in tmp_path.iterdir()] == ["model"]
    assert tensorflow.evaluate(path, ["model.text()"])[0].item() == b"an asset\x00"


def test_an_older_model_is_replaced_whole(models: Path, tmp_path: Path) -> None:
    path = tmp_path / "model"
    shutil.copytree(models / "object_graphs" / "tables_and_assets" / "saved_model", path)
    with savedmodel.load(models / "object_graphs" / "state" / "saved_model") as model:
        model.save(path)
    assert not (path / "assets" / "vocabulary.txt").exists()
    with savedmodel.load(path) as model:
        assert list(model.signatures) == ["add", "read"]


_SAVE_WITH_LIMIT = """
import resource, sys
import savedmodel
model = savedmodel.load(sys.argv[1])
model.v.assign(model.v.numpy() + 1)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
try:
    model.save(sys.argv[2])
except savedmodel.SavedModelError as error:
    print("refused:", error)
"""


# In the midst of the graph, of the variables, and of the variables' last bytes.
@pytest.mark.parametrize("limit", [0, 1000, 100_000, 399_999])
@pytest.mark.parametrize("existing", [True, False])
def test_a_full_disk_leaves_what_was_there(
    limit: int, existing: bool, models: Path, tmp_path: Path
) -> None:
    source = models / "object_graphs" / "large" / "saved_model"
    path = tmp_path / "model"
    if existing:
        shutil.copytree(source, path)
    before = contents(tmp_path)
    run = run_python(_SAVE_WITH_LIMIT, str(source), str(path), str(limit))
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("refused:")
    assert str(path) in run.stdout
    assert contents(tmp_path) == before
    # No temporary folder is left either.
    assert [entry.name for entry in tmp_path.iterdir()] == (["model"] if existing else [])


def test_what_is_not_a_saved_model_is_not_replaced(models: Path, tmp_path: Path) -> None:
    folder, file, empty = tmp_path / "folder", tmp_path / "file", tmp_path / "empty"
    folder.mkdir()
    (folder / "thesis.txt").write_text("the only copy")
    file.write_text("another")
    empty.mkdir()
    with savedmodel.load(models / "object_graphs" / "state" / "saved_model") as model:
        with pytest.raises(savedmodel.SavedModelError, match="folder"):
            model.save(folder)
        with pytest.raises(savedmodel.SavedModelError, match="file"):
            model.save(file)
        model.save(empty)
    assert [entry.name for entry in folder.iterdir()] == ["thesis.txt"]
    assert file.read_text() == "another"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["empty", "file", "folder"]
    savedmodel.load(empty).close()


def test_a_closed_model_is_not_saved(models: Path, tmp_path: Path) -> None:
    model = savedmodel.load(models / "object_graphs" / "state" / "saved_model")
    model.close()
    with pytest.raises(savedmodel.FailedPreconditionError):
        model.save(tmp_path / "saved")
    assert list(tmp_path.iterdir()) == []


def test_what_lies_beside_a_saved_model_is_not_lost(models: Path, tmp_path: Path) -> None:
    model = savedmodel.load(models / "object_graphs" / "state" / "saved_model")
    target = tmp_path / "saved"
    model.save(target)
    (target / "README.md").write_text("mine")
    with pytest.raises(savedmodel.AlreadyExistsError, match=r"README\.md"):
        model.save(target)
    # Saved over itself, a model keeps all that is there.
    with savedmodel.load(target) as copy:
        copy.save(f"file://{target}")
    assert (target / "README.md").read_text() == "mine"
    assert savedmodel.contains_saved_model(target)


def test_a_model_whose_directory_is_replaced_does_not_mix_with_the_new_one(
    models: Path, tmp_path: Path
) -> None:
    path = tmp_path / "model"
    shutil.copytree(models / "object_graphs" / "differentiable" / "saved_model", path)
    lazy = savedmodel.load(path, signatures=[])
    restored = lazy.v["bias"].numpy()
    with savedmodel.load(path) as other:
        other.v["kernel"].assign(np.zeros(other.v["kernel"].shape, np.float32))
        other.save(path)
        # It goes on with its own.
        assert not other.v["kernel"].numpy().any()
    assert lazy.v["bias"].numpy().tolist() == restored.tolist()
    with pytest.raises(savedmodel.FailedPreconditionError, match="replaced since"):
        lazy.v["kernel"].numpy()
    shutil.rmtree(path)
    with pytest.raises(savedmodel.NotFoundError, match="removed since"):
        lazy.v["kernel"].numpy()
