"""The C++ API as Python has it: load_saved_model, SavedModelBundle, Session, Callable."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import savedmodel
from conftest import DIGITS

Load = Callable[..., savedmodel.Model]
IMAGE = np.random.default_rng(1).random((2, 8, 8, 1), np.float32)


@pytest.fixture(scope="module")
def bundle() -> savedmodel.SavedModelBundle:
    return savedmodel.load_saved_model(None, None, DIGITS, {"serve"})


@pytest.fixture(scope="module")
def names(bundle: savedmodel.SavedModelBundle) -> tuple[str, str]:
    """The graph's names of the input and the output."""
    signature = bundle.signature_def["serving_default"]
    return signature.inputs["image"].name, signature.outputs["probabilities"].name


def test_bundle(bundle: savedmodel.SavedModelBundle) -> None:
    assert bundle.export_dir == str(DIGITS)
    assert bundle.tags == ["serve"]
    assert set(bundle.signature_def) == {"serve", "serving_default"}
    assert bundle.signature_def["serve"].method_name == "tensorflow/serving/predict"
    assert b"serving_default" in bundle.meta_graph_def
    assert isinstance(bundle.meta_graph_def, bytes)


def test_run_and_make_callable(
    bundle: savedmodel.SavedModelBundle, names: tuple[str, str], digits: savedmodel.Model
) -> None:
    feed, fetch = names
    session = bundle.session
    with savedmodel.load(digits.path, optimize="none") as model:
        expected = model.signatures["serving_default"](IMAGE)["probabilities"]
    (result,) = session.run({feed: IMAGE}, [fetch])
    np.testing.assert_array_equal(result, expected)
    (without_index,) = session.run({feed.removesuffix(":0"): IMAGE}, fetch.removesuffix(":0"))
    np.testing.assert_array_equal(without_index, expected)
    call = session.make_callable([feed], [fetch, feed, fetch])
    first, echo, again = call(IMAGE)
    np.testing.assert_array_equal(first, expected)
    np.testing.assert_array_equal(again, expected)
    np.testing.assert_array_equal(echo, IMAGE)
    assert session.make_callable([feed], feed)(IMAGE)[0].tolist() == IMAGE.tolist()


def test_run_one_or_many(digits: savedmodel.Model, names: tuple[str, str]) -> None:
    feed, fetch = names
    one = digits.run(fetch, {feed: IMAGE})
    assert isinstance(one, np.ndarray)
    (many,) = digits.run([fetch], {feed: IMAGE})
    np.testing.assert_array_equal(one, many)


def test_intermediate_tensors_can_be_fetched(load: Load) -> None:
    model = load("tf1_two_tag_sets")
    signature = next(iter(model.signatures.values()))
    feeds = {
        spec.name: np.ones([d or 1 for d in spec.shape], spec.dtype)  # type: ignore[union-attr]
        for spec in signature.inputs.values()
    }
    for spec in signature.outputs.values():
        assert model.run(spec.name, feeds).dtype == spec.dtype
        assert model.session.tensor_spec(spec.name).dtype == spec.dtype


def test_targets_run_without_being_fetched(load: Load) -> None:
    model = load("tf1_counter")
    add = model.signatures["add"]
    step, total = add.inputs["step"].name, add.outputs["total"].name
    before = model.signatures["read"]()["total"]
    assert model.run([], {step: np.float32(5)}, targets=total.split(":")[0]) == []
    assert model.signatures["read"]()["total"] == before + 5


def test_reference_variables_are_fetched_as_values(load: Load) -> None:
    """A TF1 reference variable is written in place: what was fetched must not change with it."""
    model = load("tf1_counter")
    fetched = model.signatures["reference"]()["total"]
    kept = fetched.copy()
    model.signatures["add"](step=np.float32(3))
    assert fetched == kept
    assert model.signatures["reference"]()["total"] == kept + 3


@pytest.mark.parametrize(
    ("use", "match"),
    [
        (lambda s, x, y: s.run({}, ["nope:0"]), r"no tensor 'nope:0' in the graph"),
        (lambda s, x, y: s.run({"serving_defualt_image": IMAGE}, [y]), "did you mean"),
        (lambda s, x, y: s.run({x: IMAGE}, [y.split(":")[0] + ":9"]), "has 1 outputs"),
        (lambda s, x, y: s.run({x: IMAGE}, [""]), "'' is not the name of a tensor"),
        (lambda s, x, y: s.run({x: IMAGE}, ["^" + y]), "is not the name of a tensor"),
        (lambda s, x, y: s.run({x: IMAGE}, []), "nothing to run"),
        (lambda s, x, y: s.run({x: IMAGE}, [], ["nope"]), "no tensor 'nope'"),
        (lambda s, x, y: s.run({x: IMAGE, x[:-2]: IMAGE}, [y]), "is fed more than once"),
        (lambda s, x, y: s.make_callable([x, x], [y]), "is fed more than once"),
        (lambda s, x, y: s.make_callable([x], []), "nothing to run"),
        (lambda s, x, y: s.tensor_spec("nope"), "no tensor 'nope'"),
    ],
)
def test_wrong_names(
    bundle: savedmodel.SavedModelBundle,
    names: tuple[str, str],
    use: Callable[[savedmodel.Session, str, str], Any],
    match: str,
) -> None:
    with pytest.raises(ValueError, match=match) as caught:
        use(bundle.session, *names)
    assert str(DIGITS) in str(caught.value)


def test_wrong_types(bundle: savedmodel.SavedModelBundle, names: tuple[str, str]) -> None:
    feed, fetch = names
    session = bundle.session
    with pytest.raises(TypeError, match="tensor 'serving_default_image:0': expected float32"):
        session.run({feed: IMAGE.astype(np.float64)}, [fetch])
    with pytest.raises(TypeError, match="fetches: expected a str or a sequence of str"):
        session.run({feed: IMAGE}, [1])
    with pytest.raises(TypeError, match="tensor names as keys"):
        session.run({1: IMAGE}, [fetch])
    with pytest.raises(TypeError, match="takes 1 feeds, got 2"):
        session.make_callable([feed], [fetch])(IMAGE, IMAGE)
    with pytest.raises(TypeError, match="expected SessionOptions"):
        savedmodel.load_saved_model(3, None, DIGITS, ["serve"])
    with pytest.raises(savedmodel.NotFoundError, match="no MetaGraph with the tag set"):
        savedmodel.load_saved_model(None, None, DIGITS, [])


def _is_tensor(session: savedmodel.Session, name: str) -> bool:
    try:
        session.tensor_spec(name)
    except ValueError:
        return False
    return True


def test_a_resource_cannot_be_fetched(load: Load) -> None:
    session = load("counter").session
    (variable,) = (name for name in ("Variable", "count", "counter") if _is_tensor(session, name))
    with pytest.raises(ValueError, match="of dtype resource cannot be fetched"):
        session.run({}, variable)


def test_outputs_by_name(load: Load) -> None:
    signature = load("many_inputs_outputs").signatures["serving_default"]
    inputs = {
        "zeta": np.array([0.5, 1.5], np.float32),
        "alpha": np.array([10, 20]),
        "mid": b"m",
        "flag": True,
    }
    everything = signature(**inputs)
    assert list(everything) == sorted(everything)
    for names in (["z_sum"], ["flag", "a_count"], "message", ["z_sum", "z_sum"]):
        some = signature.run(inputs, outputs=names)
        assert list(some) == list(dict.fromkeys([names] if isinstance(names, str) else names))
        for name, value in some.items():
            np.testing.assert_array_equal(value, everything[name])


def test_ever_new_subsets_of_outputs_do_not_pile_up(load: Load) -> None:
    import itertools

    signature = load("wide_signature").signatures["serving_default"]
    inputs = {
        k: np.ones([d or 1 for d in v.shape or ()], v.dtype) for k, v in signature.inputs.items()
    }
    expected = signature.run(inputs)
    for names in itertools.islice(itertools.combinations(sorted(expected), 2), 60):
        for name, value in signature.run(inputs, outputs=names).items():
            np.testing.assert_array_equal(value, expected[name])
    np.testing.assert_array_equal(signature.run(inputs)[min(expected)], expected[min(expected)])


def test_default_inputs(load: Load) -> None:
    signature = load("default_inputs").signatures["serving_default"]
    x = np.array([1, 2], np.float32)
    assert set(signature.default_inputs) == {"scale", "shift", "unit"}
    assert signature(x=x)["y"].tolist() == [3.5, 6.0]
    assert signature.run({"x": x, "scale": 10})["y"].tolist() == [11, 21]
    assert signature.bind(x=savedmodel.aligned_empty(0)).__call__()["y"].tolist() == []
    with pytest.raises(ValueError, match="missing input 'x'"):
        signature(scale=1)
    for value in signature.default_inputs.values():
        if value.dtype != object:
            assert not value.flags.writeable, "every call reads it"


def test_shared_buffers_are_read_only(load: Load) -> None:
    constant = load("no_inputs").signatures["constant"]
    pi = constant()["pi"]
    assert not pi.flags.writeable
    assert constant.run({}, copy=True)["pi"].flags.writeable
    twice = load("same_tensor_twice").signatures["serving_default"](x=np.ones(2, np.float32))
    assert np.shares_memory(twice["first"], twice["second"])
    assert not twice["first"].flags.writeable
    assert not twice["second"].flags.writeable


def test_a_view_of_a_variable_does_not_change(load: Load) -> None:
    signatures = load("variable_value").signatures
    index, values = np.array([[2], [0]], np.int32), np.array([-1, -2], np.float32)
    vector = signatures["scatter"](index=index, values=values)["vector"]
    before = vector.copy()
    signatures["add"](x=np.float32(1))
    signatures["scatter"](index=index, values=values * 5)
    np.testing.assert_array_equal(vector, before)


def test_a_variable_does_not_keep_the_callers_buffer(load: Load) -> None:
    signatures = load("assign_input").signatures
    x = savedmodel.aligned_empty((16, 2))
    x[:] = 1
    before = savedmodel.copy_stats().by_reason["retained"][0]
    signatures["write"](x=x, label=b"ones")
    assert savedmodel.copy_stats().by_reason["retained"][0] == before + 1
    x[:] = 2
    np.testing.assert_array_equal(signatures["read"]()["x"], np.ones((16, 2)))


def test_copy_false_where_the_graph_may_keep_its_input(load: Load) -> None:
    scatter = load("variable_value").signatures["scatter"]
    inputs = {}
    for name, value in (("index", np.array([[0]], np.int32)), ("values", np.ones(1, np.float32))):
        inputs[name] = savedmodel.aligned_empty(value.shape, value.dtype)
        inputs[name][:] = value
    with pytest.raises(ValueError, match="may keep an input beyond the call"):
        scatter.run(inputs, copy=False)
