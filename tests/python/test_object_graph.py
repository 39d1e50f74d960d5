"""The object graph: its structure, functions, variables and gradients, against TensorFlow."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import savedmodel
from replay import recorded, replay

NAMES = recorded("object_graphs")


@pytest.fixture
def load_graph(load: Callable[..., savedmodel.Model]) -> Callable[..., savedmodel.Model]:
    """Loads a model of tests/models/object_graphs.py; closed after the test."""
    return lambda name, **options: load(f"object_graphs/{name}", **options)


def test_there_are_models() -> None:
    assert len(NAMES) >= 15


@pytest.mark.parametrize("name", NAMES)
def test_steps(name: str, models: Path) -> None:
    with savedmodel.load(models / name / "saved_model") as model:
        replay(model, models / name)


def test_kinds_of_nodes(load_graph: Callable[..., savedmodel.Model]) -> None:
    model = load_graph("containers")
    assert type(model.layers) is list
    assert type(model.named) is dict
    assert type(model.pair) is tuple
    assert type(model.empty) is list
    assert isinstance(model.outer, savedmodel.TrackableObject)
    assert isinstance(model.layers[0].w, savedmodel.Variable)
    assert isinstance(model.call_all, savedmodel.Function)
    assert model["layers"][0]["w"] is model.layers[0].w
    assert model["outer"]["inner"] is model.outer.inner
    with pytest.raises(KeyError):
        model["no such child"]
    assert callable(model.layers[0])
    (concrete,) = model.call_all.concrete_functions
    assert isinstance(concrete, savedmodel.ConcreteFunction)
    assert "call_all" in concrete.name


def test_a_model_without_call_is_not_called(load_graph: Callable[..., savedmodel.Model]) -> None:
    with pytest.raises(TypeError):
        load_graph("containers")(np.float32([[1.0, 2.0]]))
    with pytest.raises(TypeError):
        load_graph("containers").outer(np.float32([[1.0, 2.0]]))


@pytest.mark.parametrize("name", ["keras_saved", "keras_in_module"])
def test_repairs_are_reported(name: str, load_graph: Callable[..., savedmodel.Model]) -> None:
    assert load_graph(name).load_report.repairs


@pytest.mark.parametrize("name", ["keras_export", "containers", "state", "tf1_resource_variables"])
def test_nothing_else_is_repaired(name: str, load_graph: Callable[..., savedmodel.Model]) -> None:
    assert load_graph(name).load_report.repairs == []


@pytest.mark.parametrize("name", ["state", "tables_and_assets", "keras_saved", "reusable"])
def test_steps_on_two_devices(name: str, models: Path) -> None:
    """Variables are not in one device's resources then, but restored and read by the graph."""
    folder = models / "object_graphs" / name
    options = savedmodel.SessionOptions(device_count={"CPU": 2})
    with savedmodel.load(folder / "saved_model", session_options=options) as model:
        assert len(model.devices) == 2
        replay(model, folder)
        for variable in model.variables:
            assert variable.device == model.devices[0].name


def test_only_what_is_needed_is_restored(load_graph: Callable[..., savedmodel.Model]) -> None:
    # Keras writes each weight twice.
    assert load_graph("keras_export").load_report.bytes_saved > 0
    assert load_graph("large", signatures=["total"]).load_report.bytes_saved == 0
    # `read` reads the count, and not the rows and the label.
    restricted = load_graph("state", signatures=["read"])
    assert list(restricted.signatures) == ["read"]
    assert restricted.signatures["read"]()["output_0"] == 5


def test_an_unknown_signature_cannot_be_chosen(
    load_graph: Callable[..., savedmodel.Model],
) -> None:
    with pytest.raises(savedmodel.SavedModelError, match="no_such_signature") as raised:
        load_graph("state", signatures=["no_such_signature"])
    assert "read" in str(raised.value)  # What there is.


def test_values_are_read_only_views(load_graph: Callable[..., savedmodel.Model]) -> None:
    variable = load_graph("large").v
    first, second = variable.numpy(), variable.numpy()
    assert np.shares_memory(first, second)
    assert not first.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        first[0] = 1.0


def test_views_keep_their_values(load_graph: Callable[..., savedmodel.Model]) -> None:
    model = load_graph("state")
    before = model.count.numpy()
    model.add(np.int64(1))
    model.count.assign(np.int64(20))
    assert before == 5
    assert model.count.numpy() == 20


def test_an_assigned_array_is_the_callers(load_graph: Callable[..., savedmodel.Model]) -> None:
    model = load_graph("containers")
    w = model.layers[0].w
    value = savedmodel.aligned_empty((2, 2), np.float32)
    value[:] = 3.0
    w.assign(value)
    value[:] = 4.0
    assert w.numpy().tolist() == [[3.0, 3.0], [3.0, 3.0]]


def test_variables_describe_themselves(load_graph: Callable[..., savedmodel.Model]) -> None:
    model = load_graph("state")
    assert model.count.name.removesuffix(":0") == "count"
    assert model.count.dtype == np.dtype("int64")
    assert model.count.shape == ()
    assert model.rows.shape == (None, 2)
    assert model.label.dtype == np.dtype(object)
    assert not model.count.trainable
    assert "CPU" in model.count.device
    assert {v.name for v in model.trainable_variables} < {v.name for v in model.variables}
    assert all(v.trainable for v in model.trainable_variables)


def test_what_does_not_fit_is_not_assigned(load_graph: Callable[..., savedmodel.Model]) -> None:
    model = load_graph("state")
    with pytest.raises(TypeError, match="int64"):
        model.count.assign(np.float32(1.0))
    with pytest.raises(ValueError, match="count"):
        model.count.assign(np.zeros([2], np.int64))
    with pytest.raises(ValueError, match="rows"):
        model.rows.assign(np.zeros([2, 3], np.float32))
    assert model.count.numpy() == 5
    assert model.rows.numpy().shape == (0, 2)


def test_models_do_not_share_variables(load_graph: Callable[..., savedmodel.Model]) -> None:
    one, other = load_graph("state"), load_graph("state")
    one.count.assign(np.int64(77))
    assert other.count.numpy() == 5
    assert other.read() == 5


def test_a_closed_model_answers_nothing(load_graph: Callable[..., savedmodel.Model]) -> None:
    model = load_graph("state")
    read, count = model.read, model.count
    view = count.numpy()
    model.close()
    with pytest.raises(savedmodel.FailedPreconditionError):
        read()
    with pytest.raises(savedmodel.FailedPreconditionError):
        count.assign(np.int64(1))
    assert view == 5


def test_reference_variables(load_graph: Callable[..., savedmodel.Model]) -> None:
    model = load_graph("tf1_reference_variables")
    variables = {v.name.removesuffix(":0"): v for v in model.variables}
    assert sorted(variables) == ["calls", "weights"]
    assert variables["weights"].trainable
    assert not variables["calls"].trainable
    assert [v.name.removesuffix(":0") for v in model.trainable_variables] == ["weights"]
    run = model.signatures["serving_default"]
    x = np.float32([[1.0, 2.0]])
    # Such variables are written in place, so a view of one is of its value when it was taken.
    before = variables["calls"].numpy()
    assert run(x)["y"].tolist() == [[8.0, 11.0]]
    assert run(x)["y"].tolist() == [[9.0, 12.0]]
    assert before == 0.0
    assert variables["calls"].numpy() == 2.0
    variables["calls"].assign(np.float32(10.0))
    variables["weights"].assign(np.float32([[1.0, 0.0], [0.0, 1.0]]))
    assert run(x)["y"].tolist() == [[12.0, 13.0]]


def test_partitioned_variables(load_graph: Callable[..., savedmodel.Model]) -> None:
    model = load_graph("tf1_partitioned_variables")
    run = model.signatures["serving_default"]
    identity = np.eye(2, dtype=np.float32)
    weights = run(identity)["y"]
    parts = sorted(model.variables, key=lambda variable: variable.name)
    assert all(part.name.startswith("weights") for part in parts)
    assert np.concatenate([part.numpy() for part in parts], axis=1).tolist() == weights.tolist()
    parts[-1].assign(np.zeros(parts[-1].shape, np.float32))
    zeroed = parts[-1].shape[1]
    assert run(identity)["y"][:, :-zeroed].tolist() == weights[:, :-zeroed].tolist()
    assert not run(identity)["y"][:, -zeroed:].any()


def test_gradients_that_there_are_not(load_graph: Callable[..., savedmodel.Model]) -> None:
    model = load_graph("not_differentiable")
    x = np.float32([[1.0, 2.0], [3.0, 4.0]])
    with pytest.raises(savedmodel.SavedModelError, match="Betainc"):
        savedmodel.gradients(model.f, [x], [model.v])


def test_gradients_of_what_was_not_read(load_graph: Callable[..., savedmodel.Model]) -> None:
    model = load_graph("differentiable")
    x = np.float32([[1.0, 2.0, -1.0]])
    (zeros,) = savedmodel.gradients(model.dense, [x], [model.v["shift"]])
    assert zeros.tolist() == [0.0, 0.0, 0.0]
    assert savedmodel.gradients(model.dense, [x], []) == []


def test_gradients_refuse_what_does_not_fit(load_graph: Callable[..., savedmodel.Model]) -> None:
    model, other = load_graph("differentiable"), load_graph("differentiable")
    x = np.float32([[1.0, 2.0, -1.0]])
    with pytest.raises((TypeError, ValueError)):
        savedmodel.gradients(model.dense, [x, x, x], [model.v["bias"]])
    with pytest.raises((TypeError, ValueError)):
        savedmodel.gradients(model.dense, [x], [model.v["bias"]], np.zeros([3, 3], np.float32))
    with pytest.raises((TypeError, ValueError)):
        savedmodel.gradients(model.dense, [x], [other.v["bias"]])


def test_many_threads_reach_the_same_objects(
    load_graph: Callable[..., savedmodel.Model],
) -> None:
    """Containers are seen when they are complete, and each object is made once."""
    for _ in range(20):
        model = load_graph("containers")
        start = threading.Barrier(4)

        def reach(model: savedmodel.Model = model, start: threading.Barrier = start) -> list[int]:
            start.wait()
            return [id(model.layers[0]), id(model.layers[0].w), id(model.pair[0])]

        with ThreadPoolExecutor(4) as pool:
            reached = [future.result() for future in [pool.submit(reach) for _ in range(4)]]
        assert all(ids == reached[0] for ids in reached)


def test_output_gradients_have_the_structure_of_the_outputs(
    load_graph: Callable[..., savedmodel.Model],
) -> None:
    model = load_graph("differentiable")
    x = np.float32([[1.0, 2.0, -1.0], [0.5, 0.0, 3.0]])
    kernel = [model.v["kernel"]]
    for wrong in ({"y": [[1.0], [0.5]], "zz": x}, [[[1.0], [0.5]], x], {"y": [[1.0], [0.5]]}):
        with pytest.raises(ValueError, match="structure"):
            savedmodel.gradients(model.outputs, [x], kernel, wrong)
    (ones,) = savedmodel.gradients(model.outputs, [x], kernel)
    (partly,) = savedmodel.gradients(model.outputs, [x], kernel, {"y": None, "z": None})
    assert ones.tolist() == partly.tolist()
