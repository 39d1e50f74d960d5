"""`optimize="default"` gives the answers of "none", whatever changes the variables meanwhile."""

from __future__ import annotations

import itertools
import os
import re
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

import savedmodel
from conftest import SOON, Copies, TensorFlow, run_python, with_engine
from random_layers import KINDS, Layer, Network
from replay import RENAMED_INPUTS, ZOO

Load = Callable[..., savedmodel.Model]
Calls = Callable[[str], list[dict[str, Any]]]
Array = npt.NDArray[Any]
Pair = tuple[savedmodel.Signature, savedmodel.Signature]

LAYERED = [
    *("residual_blocks", "inverted_residuals", "separable_convolutions", "feed_forward"),
    *("attention", "recurrent_of_fixed_length", "broadcasting_sums", "keras_cnn"),
]

# What the levels may differ by, of the output's scale.
ROUNDING = 1e-5


def assert_close(actual: Array, expected: Array, what: str = "") -> None:
    """Floats within ROUNDING of the largest; everything else exactly."""
    assert actual.dtype == expected.dtype, what
    assert actual.shape == expected.shape, what
    if expected.dtype == object:
        assert actual.tolist() == expected.tolist(), what
    elif expected.dtype == ml_dtypes.bfloat16:
        # Kernels that are fused round once, others after each op.
        single = expected.astype(np.float32)
        scale = np.abs(np.where(np.isfinite(single), single, 0)).max(initial=0)
        atol = float(scale * ml_dtypes.finfo(expected.dtype).eps)
        np.testing.assert_allclose(actual.astype(np.float32), single, rtol=0, atol=atol)
    elif expected.dtype.kind not in "fc":
        assert actual.tobytes() == expected.tobytes(), what
    else:
        finite = np.where(np.isfinite(expected), expected, 0)
        scale = float(np.abs(finite).max(initial=0))
        np.testing.assert_allclose(actual, expected, rtol=0, atol=ROUNDING * scale, err_msg=what)


def assert_all_close(actual: dict[str, Array], expected: dict[str, Array], what: str = "") -> None:
    assert sorted(actual) == sorted(expected)
    for name, array in expected.items():
        assert_close(actual[name], array, f"{what} {name}")


def noise(*shape: int, seed: int = 0) -> Array:
    """Samples in memory that goes in without a copy."""
    array = savedmodel.aligned_empty(shape)
    array[...] = np.random.default_rng(seed).standard_normal(shape)
    return array


def on(load: Load, name: str, key: str = "serving_default") -> Pair:
    """A signature on "none" and on "default"."""
    optimized = load(name, optimize="default").signatures[key]
    return load(name, optimize="none").signatures[key], optimized


# ----------------------------------------------------------------------------- answers


@pytest.mark.parametrize("name", ZOO)
def test_levels_agree(name: str, models: Path, calls: Calls) -> None:
    """All recorded calls, in their order: some change what later ones read."""
    renamed = RENAMED_INPUTS.get(name, {})
    answers = []
    for optimize in ("none", "default"):
        by_tags: dict[tuple[str, ...], savedmodel.Model] = {}
        answers.append(
            [
                by_tags.setdefault(
                    tuple(call["tags"]),
                    # The first load of a tag set is the only one.
                    by_tags.get(tuple(call["tags"]))
                    or savedmodel.load(
                        models / name / "saved_model", tags=call["tags"], optimize=optimize
                    ),
                )
                .signatures[call["signature"]]
                .run({renamed.get(key, key): value for key, value in call["inputs"].items()})
                for call in calls(name)
            ]
        )
    for index, (expected, actual) in enumerate(zip(*answers, strict=True)):
        assert_all_close(actual, expected, f"call {index}")


layers = st.builds(
    Layer,
    st.sampled_from(KINDS),
    st.sampled_from((0, 0, 0, 1, 2)),
    st.integers(0, 3),
    st.integers(0, 41),
)
networks = st.builds(
    Network,
    st.sampled_from(((6, 5, 3), (None, None, 4), (9, 16), (None, 8), (12,), (1, 1, 8))),
    st.lists(layers, min_size=6, max_size=14),
    st.lists(st.integers(0, 9), max_size=2),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("networks")


@settings(
    derandomize=True,
    max_examples=80,
    deadline=None,
    # A shrink would save a model for each of its steps.
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(network=networks)
def test_random_networks(network: Network, folder: Path, tensorflow: TensorFlow) -> None:
    path = Path(tempfile.mkdtemp(dir=folder), "saved_model")
    tensorflow.save_network(network, path)
    note(f"saved as {path}")
    signatures = [
        savedmodel.load(path, optimize=optimize).signatures["serving_default"]
        for optimize in ("none", "default")
    ]
    for batch, size in ((1, 7), (3, 4), (0, 4), (2, 11)):
        x = noise(batch, *(size if dim is None else dim for dim in network.shape), seed=batch)
        assert_same_outcome(signatures[1], signatures[0], {"x": x}, f"batch {batch}")


def outcome(signature: savedmodel.Signature, inputs: dict[str, Array]) -> Any:
    """What a call gives, or the class of the error that it ends in."""
    try:
        return signature.run(inputs)
    except savedmodel.SavedModelError as error:
        return type(error)


def assert_same_outcome(
    optimized: savedmodel.Signature,
    plain: savedmodel.Signature,
    inputs: dict[str, Array],
    what: str,
) -> None:
    actual, expected = outcome(optimized, inputs), outcome(plain, inputs)
    if isinstance(expected, dict):
        assert isinstance(actual, dict), (what, actual)
        assert_all_close(actual, expected, what)
    elif min(array.size for array in inputs.values()) == 0:
        # oneDNN refuses convolutions of nothing. TensorFlow without it does not, nor the engine.
        assert isinstance(actual, dict) or actual == expected, what
    else:
        assert actual == expected, what


# ------------------------------------------------------------------------- other shapes


@pytest.mark.parametrize(
    "shapes",
    [
        [(1, 16, 16), (4, 16, 16), (0, 16, 16), (1, 16, 16), (7, 5, 64)],
        # Where the last convolution has nothing to slide over, TensorFlow's answers at random.
        [(2, 5, 5), (1, 16, 16), (0, 6, 9), (2, 17, 6), (1, 5, 5)],
    ],
)
def test_images_of_any_size(load: Load, shapes: Sequence[tuple[int, int, int]]) -> None:
    plain, optimized = on(load, "residual_blocks")
    for shape in shapes:
        x = noise(*shape, 3, seed=sum(shape))
        assert_same_outcome(optimized, plain, {"x": x}, str(shape))


@pytest.mark.parametrize(
    ("name", "inputs"),
    [
        ("inverted_residuals", {"x": (24, 24, 3)}),
        ("feed_forward", {"x": (6, 16)}),
        ("feed_forward", {"x": (0, 16)}),
        ("attention", {"x": (7, 16), "memory": (5, 16)}),
        ("attention", {"x": (7, 16), "memory": (0, 16)}),
        ("recurrent_of_fixed_length", {"x": (6, 5)}),
    ],
)
def test_batches_of_any_size(load: Load, name: str, inputs: dict[str, tuple[int, ...]]) -> None:
    plain, optimized = on(load, name)
    for batch in (2, 0, 1, 33, 1):
        given = {key: noise(batch, *shape, seed=batch) for key, shape in inputs.items()}
        assert_same_outcome(optimized, plain, given, f"batch {batch}")


@pytest.mark.parametrize(
    "shape",
    list(itertools.product((1, 2), (1, 3), (1, 5), (1, 6))),
)
def test_sums_broadcast(load: Load, shape: tuple[int, ...]) -> None:
    plain, optimized = on(load, "broadcasting_sums")
    # The graph's own tensor is the wider one, and then the narrower.
    for own in ((2, 3, 5), (1, 1, 1)):
        given = {"x": noise(*own, 4, seed=1), "y": noise(*shape, seed=2)}
        assert_all_close(optimized.run(given), plain.run(given), str(own))


# -------------------------------------------------------------------------------- state

ROWS = np.random.default_rng(5).standard_normal((3, 4)).astype(np.float32)
Step = Callable[[savedmodel.Model], Any]


def weights_of(model: savedmodel.Model) -> savedmodel.Variable:
    (weights,) = (v for v in model.variables if v.shape == (4, 3))
    return weights


def bias_of(model: savedmodel.Model) -> savedmodel.Variable:
    (bias,) = (v for v in model.variables if v.shape == (3,))
    return bias


def tensors_of(model: savedmodel.Model, key: str) -> tuple[list[str], list[str]]:
    """The graph's names of a signature's inputs and outputs."""
    signature = savedmodel.load_saved_model(None, None, model.path, model.tags).signature_def[key]
    return [spec.name for spec in signature.inputs.values()], [
        spec.name for spec in signature.outputs.values()
    ]


def run_tensors(model: savedmodel.Model) -> Any:
    (by,), (bias,) = tensors_of(model, "shift")
    return model.run(bias, {by: np.float32(0.25)})


def run_targets(model: savedmodel.Model) -> Any:
    (by,), (bias,) = tensors_of(model, "shift")
    return model.run([], {by: np.float32(0.5)}, targets=[bias.partition(":")[0]])


def run_session(model: savedmodel.Model) -> Any:
    (by,), (bias,) = tensors_of(model, "shift")
    return model.session.run({by: np.float32(-0.75)}, [bias])[0]


def run_callable(model: savedmodel.Model) -> Any:
    (by,), (bias,) = tensors_of(model, "shift")
    return model.session.make_callable([by], [bias])(np.float32(1.5))[0]


def assign_and_change_the_array(model: savedmodel.Model) -> Any:
    array = noise(4, 3, seed=9)
    weights_of(model).assign(array)
    array[...] = 1e9


def assign_back(model: savedmodel.Model) -> Any:
    """The same values as before are no change that may be missed, or that does harm."""
    weights_of(model).assign(weights_of(model).numpy())


CHANGES: dict[str, Step] = {
    "assign": lambda m: weights_of(m).assign(noise(4, 3, seed=7)),
    "assign_and_change_the_array": assign_and_change_the_array,
    "assign_back": assign_back,
    "assign_bias": lambda m: bias_of(m).assign(np.float32([1, -2, 3])),
    "assign_add": lambda m: m.signatures["shift"](by=np.float32(0.5)),
    "scatter": lambda m: m.signatures["replace_row"](row=np.int32(1), value=np.float32(2)),
    "loop": lambda m: m.signatures["halve"](times=np.int32(2)),
    "no_turn": lambda m: m.signatures["halve"](times=np.int32(0)),
    "function": lambda m: m.shift(np.float32(-0.25)),
    "run_tensors": run_tensors,
    "run_targets": run_targets,
    "session_run": run_session,
    "make_callable": run_callable,
    "submit": lambda m: m.signatures["shift"].submit(by=np.float32(2)).result(),
    "bound": lambda m: m.signatures["shift"].bind(by=np.float32(2))(),
}


def readings(model: savedmodel.Model, x: Array) -> list[Array]:
    """What is read in every way there is."""
    predict = model.signatures["predict"]
    out = savedmodel.aligned_empty((len(x), 3))
    return [
        predict(x)["y"].copy(),
        predict.run({"x": x}, out={"y": out})["y"],
        predict.bind(x)()["y"],
        model.predict(x)["y"],
        np.maximum(x @ weights_of(model).numpy() + bias_of(model).numpy(), 0),
    ]


@pytest.mark.parametrize("optimize", ["none", "default"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_seen_by_the_next_call(load: Load, change: str, optimize: str) -> None:
    model = load("changing_weights", optimize=optimize)
    x = noise(5, 4, seed=11)
    bound = model.signatures["predict"].bind(x)
    first = bound()["y"]
    kept = first.copy()
    for turn in range(3):
        before = readings(model, x)[0]
        CHANGES[change](model)
        after = [bound()["y"], *readings(model, x)]
        for array in after[:-1]:
            assert_close(array, after[-1], f"turn {turn}")
        changed = change not in ("assign_back", "no_turn") and (
            turn == 0 or not change.startswith(("assign_b", "assign_and", "scatter"))
        )
        if change != "assign" or turn == 0:
            assert (np.abs(after[0] - before).max() > 1e-3) == changed, f"turn {turn}"
        np.testing.assert_array_equal(first, kept)


def test_all_changes_interleaved(load: Load) -> None:
    """Both levels go through the same sequence, with calls between only some of the changes."""
    plain, optimized = (load("changing_weights", optimize=o) for o in ("none", "default"))
    random = np.random.default_rng(3)
    for index in range(60):
        name = str(random.choice(list(CHANGES)))
        for model in (plain, optimized):
            CHANGES[name](model)
        if random.random() < 0.6:
            expected, actual = (m.signatures["predict"](ROWS)["y"] for m in (plain, optimized))
            assert_close(actual, expected, f"after change {index}, {name}")
    for ours, theirs in zip(optimized.variables, plain.variables, strict=True):
        assert_close(ours.numpy(), theirs.numpy(), ours.name)


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_made_after_a_change_hides_it_from_none(load: Load, change: str) -> None:
    """Engines that are made between a change and the next call of an older one."""
    model = load("changing_weights")
    predict = model.signatures["predict"]
    old = predict(ROWS)["y"]
    for _ in range(2):
        CHANGES[change](model)
        by_function = model.predict(ROWS)["y"]
        np.testing.assert_array_equal(predict.run({"x": ROWS}, outputs=["y"])["y"], by_function)
        np.testing.assert_array_equal(predict(ROWS)["y"], by_function)
    assert change in ("assign_back", "no_turn") or (by_function != old).any()


def test_each_of_many_assignments_is_seen(load: Load) -> None:
    model = load("changing_weights")
    predict, bias = model.signatures["predict"], bias_of(model)
    weights_of(model).assign(np.zeros((4, 3), np.float32))
    for turn in range(200):
        bias.assign(np.full(3, turn, np.float32))
        assert (predict(ROWS)["y"] == turn).all()


def test_arrays_of_a_variable_stay_as_they_were(load: Load) -> None:
    """`numpy()` and results share the variable's memory; changes must go elsewhere."""
    model = load("changing_weights")
    weights = weights_of(model)
    model.signatures["predict"](ROWS)
    for change in ("scatter", "loop", "assign"):
        view = weights.numpy()
        values = view.copy()
        CHANGES[change](model)
        model.signatures["predict"](ROWS)
        np.testing.assert_array_equal(view, values)
        assert (weights.numpy() != values).any()


@pytest.mark.parametrize("optimize", ["none", "default"])
def test_threads_see_the_old_or_the_new_value(load: Load, optimize: str) -> None:
    model = load("changing_weights", optimize=optimize)
    (wide,) = (v for v in model.variables if v.shape == (1024,))
    weights = weights_of(model)
    bias_of(model).assign(np.zeros(3, np.float32))
    weights.assign(np.zeros((4, 3), np.float32))
    spread, predict = model.signatures["spread"], model.signatures["predict"]
    ones = np.ones((1, 4), np.float32)
    done = threading.Event()

    def read(_: int) -> float:
        latest = 0.0
        while not done.is_set():
            result = spread()
            assert result["lowest"] == result["highest"], "a mix of two assignments"
            (row,) = predict(ones)["y"]
            assert row[0] == row[1] == row[2], "a mix of two assignments"
            assert latest <= row[0], "an old value after a newer one"
            latest = float(row[0])
        return latest

    last = 150
    with ThreadPoolExecutor(4) as pool:
        readers = [pool.submit(read, index) for index in range(4)]
        try:
            for number in range(1, last + 1):
                wide.assign(np.full(1024, number, np.float32))
                weights.assign(np.full((4, 3), number, np.float32))
                assert spread()["lowest"] == number
        finally:
            done.set()
        for reader in readers:
            reader.result(SOON)
    assert (predict(ones)["y"] == 4 * last).all()


# ------------------------------------------------------------------------------ runners


@with_engine
@pytest.mark.parametrize(
    ("name", "key", "reason"),
    [
        ("keras_mlp", "serving_default", ""),
        ("residual_blocks", "serving_default", ""),
        ("inverted_residuals", "serving_default", ""),
        ("recurrent_of_fixed_length", "serving_default", ""),
        ("known_repetitions", "serving_default", ""),
        ("string_ops", "serving_default", ""),
        # A variable that another signature changes.
        ("counter", "read", ""),
        ("counter", "add", r"op AssignAddVariableOp \('.*'\) changes or inspects a variable"),
        ("while_loop", "serving_default", r"op StatelessWhile \('while'\) depends on the inputs"),
        ("cond", "serving_default", r"op If \('cond'\) depends on the inputs"),
        ("random_generator", "serving_default", "op RngReadAndSkip"),
        ("tf1_ref_variables", "serving_default", r"op VariableV2 \('b'\) has state"),
        ("tf1_control_flow", "serving_default", "op Switch"),
    ],
)
def test_runners(load: Load, calls: Calls, name: str, key: str, reason: str) -> None:
    tags = next(call["tags"] for call in calls(name) if call["signature"] == key)
    runner = load(name, tags=tags).signatures[key].runner
    assert runner.name == ("session" if reason else "engine"), runner.reason
    if reason:
        assert re.match(reason, runner.reason), runner.reason
    else:
        assert runner.reason == ""


@with_engine
def test_run_options_that_keep_to_the_session(models: Path) -> None:
    for options, name in (
        (savedmodel.RunOptions(timeout_in_ms=60_000), "engine"),
        (savedmodel.RunOptions(inter_op_thread_pool=-1), "session"),
    ):
        with savedmodel.load(models / "keras_mlp" / "saved_model", run_options=options) as model:
            runner = model.signatures["serving_default"].runner
            assert runner.name == name
            assert ("run_options" in runner.reason) == (name == "session")


def test_none_keeps_to_the_session(load: Load) -> None:
    runner = load("keras_mlp", optimize="none").signatures["serving_default"].runner
    assert runner == savedmodel.Runner("session", "the engine is switched off for it")


def test_level_that_there_is_not(load: Load) -> None:
    with pytest.raises(ValueError, match="optimize.*fast"):
        load("keras_mlp", optimize="fast")


def test_the_engine_can_be_switched_off(models: Path) -> None:
    done = run_python(
        """
import sys, savedmodel
runner = savedmodel.load(sys.argv[1]).signatures["serving_default"].runner
assert runner.name == "session", runner
assert runner.reason, runner
""",
        str(models / "keras_mlp" / "saved_model"),
        SAVEDMODEL_ENGINE="session",
    )
    assert done.returncode == 0, done.stderr


# ------------------------------------------------------------------------------- sizes


@with_engine
@pytest.mark.parametrize("name", LAYERED)
def test_no_rows(name: str, load: Load, calls: Calls) -> None:
    """Not the session's: oneDNN refuses convolutions of no images."""
    model = load(name)
    for call in calls(name):
        signature = model.signatures[call["signature"]]
        expected = signature.run(call["inputs"])
        none = {key: value[:0] for key, value in call["inputs"].items()}
        if any((signature.inputs[key].shape or [0])[0] is not None for key in none):
            continue
        for _ in range(20):
            outputs = signature.run(none)
        for key, value in expected.items():
            assert outputs[key].shape == (0, *value.shape[1:])
        with Copies():
            assert_all_close(signature.run(call["inputs"]), expected)
        assert signature.runner.name == "engine"


@with_engine
@pytest.mark.parametrize("name", ["conv", "depthwise", "largest", "mean"])
def test_images_that_a_window_does_not_fit_in(load: Load, name: str) -> None:
    """What TensorFlow answers without oneDNN, which gives any memory or divides by zero here."""
    signature = load("windows").signatures[name]
    assert signature.runner.name == "engine"
    channels = 5 if name == "conv" else 4
    sizes = {(1, 1): (0, 0), (2, 2): (0, 0), (3, 2): (1, 0), (5, 1): (2, 0), (0, 3): (0, 1)}
    for (height, width), expected in sizes.items():
        (y,) = signature(np.ones((2, height, width, 4), np.float32)).values()
        assert y.shape == (2, *expected, channels)


# ------------------------------------------------------------------------ "max", verify


HAS_BFLOAT16 = (
    "avx512_bf16" in Path("/proc/cpuinfo").read_text().split()
    and not {"ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"} & os.environ.keys()
)
with_bfloat16 = pytest.mark.skipif(not HAS_BFLOAT16, reason="the processor has no AVX512-BF16")


@pytest.mark.parametrize("name", LAYERED)
def test_max_rounds_to_bfloat16_at_most(name: str, load: Load, calls: Calls) -> None:
    model = load(name, optimize="max")
    for call in calls(name):
        outputs = model.signatures[call["signature"]].run(call["inputs"])
        for key, expected in call["outputs"].items():
            atol = 2e-2 * np.abs(expected).max()
            np.testing.assert_allclose(outputs[key], expected, rtol=0, atol=atol)


@with_engine
@with_bfloat16
def test_max_multiplies_in_bfloat16(load: Load, calls: Calls) -> None:
    (call,) = calls("cancelling_products")
    (expected,) = call["outputs"].values()
    assert np.abs(expected).max() > 0
    answers = {
        optimize: load("cancelling_products", optimize=optimize)
        .signatures["serving_default"]
        .run(call["inputs"])["y"]
        for optimize in ("default", "max")
    }
    np.testing.assert_array_equal(answers["default"], expected)
    np.testing.assert_array_equal(answers["max"], np.zeros_like(expected))


@pytest.mark.parametrize("optimize", ["default", "max"])
@pytest.mark.parametrize("name", LAYERED)
def test_verify_allows_what_the_level_allows(name: str, optimize: str, models: Path) -> None:
    savedmodel.load(models / name / "saved_model", optimize=optimize, verify=True).close()


@with_engine
@with_bfloat16
def test_verify_raises_where_answers_differ(models: Path) -> None:
    path = models / "cancelling_products" / "saved_model"
    savedmodel.load(path, verify=True).close()
    savedmodel.load(path, optimize="max").close()
    with pytest.raises(savedmodel.FailedPreconditionError) as caught:
        savedmodel.load(path, optimize="max", verify=True)
    message = str(caught.value)
    assert str(path) in message
    assert "signature 'serving_default', output 'y'" in message
    assert re.search(r"differs by [\d.]+, expected at most [\d.]+", message)


# ------------------------------------------------------------------- results in `out=`


WRITTEN = {
    "keras_mlp": {"features": (5, 4)},
    "residual_blocks": {"x": (2, 16, 16, 3)},
    "inverted_residuals": {"x": (3, 24, 24, 3)},
    "feed_forward": {"x": (2, 6, 16)},
    "recurrent_of_fixed_length": {"x": (2, 6, 5)},
    "broadcasting_sums": {"x": (2, 3, 5, 4), "y": (1, 1, 1, 6)},
    "known_repetitions": {"x": (4, 192)},
}


@with_engine
@pytest.mark.parametrize("name", WRITTEN)
def test_results_are_written_where_they_are_wanted(load: Load, name: str) -> None:
    signature = load(name).signatures["serving_default"]
    for seed in range(3):
        inputs = {key: noise(*shape, seed=seed) for key, shape in WRITTEN[name].items()}
        expected = signature.run(inputs)
        out = {key: savedmodel.aligned_empty(value.shape) for key, value in expected.items()}
        for array in out.values():
            array.fill(np.nan)
        with Copies() as copies:
            result = signature.run(inputs, out=out, copy=False)
        assert copies.by_reason == {}
        for key, array in out.items():
            assert result[key] is array
            np.testing.assert_array_equal(array, expected[key])
        # The memory stays the caller's alone.
        kept = {key: array.copy() for key, array in out.items()}
        signature.run({key: value * 2 for key, value in inputs.items()})
        for key, array in out.items():
            np.testing.assert_array_equal(array, kept[key])


def unaligned(array: Array) -> Array:
    memory = savedmodel.aligned_empty(array.size + 1)
    return memory[1:].reshape(array.shape)


def strided(array: Array) -> Array:
    return savedmodel.aligned_empty((*array.shape[:-1], 2 * array.shape[-1]))[..., ::2]


@pytest.mark.parametrize("make", [unaligned, strided])
def test_results_are_copied_where_kernels_cannot_write(
    load: Load, make: Callable[[Array], Array]
) -> None:
    signature = load("residual_blocks").signatures["serving_default"]
    x = noise(1, 16, 16, 3)
    ((key, expected),) = signature(x).items()
    out = make(expected)
    with Copies() as copies:
        result = signature.run({"x": x}, out={key: out})
    assert result[key] is out
    assert {reason: count for reason, (count, _) in copies.by_reason.items()} == {"out": 1}
    np.testing.assert_array_equal(out, expected)
    with pytest.raises(ValueError, match="copy"):
        signature.run({"x": x}, out={key: out}, copy=False)


def overlapping(memory: Array, shape: tuple[int, ...]) -> Iterator[Array]:
    """The same memory, and the parts of it that begin at an aligned address."""
    size = int(np.prod(shape))
    for first in range(0, memory.size - size + 1, 16):
        yield memory[first : first + size].reshape(shape)


@pytest.mark.parametrize("name", ["known_repetitions", "recurrent_of_fixed_length"])
def test_a_result_may_take_the_place_of_the_input(load: Load, name: str) -> None:
    signature = load(name).signatures["serving_default"]
    (shape,) = WRITTEN[name].values()
    size = int(np.prod(shape))
    x = noise(*shape, seed=4)
    ((key, expected),) = signature(x).items()
    memory = savedmodel.aligned_empty(size + 64)
    for place in overlapping(memory, expected.shape):
        given = memory[16 : 16 + size].reshape(shape)
        given[...] = x
        result = signature.run({"x": given}, out={key: place})
        assert result[key] is place
        np.testing.assert_array_equal(place, expected)


def test_a_result_may_take_the_place_of_an_input_that_is_read_again(load: Load) -> None:
    """By the kernel that makes the result itself, and by the ones of other results after it."""
    predict = load("changing_weights").signatures["predict"]
    memory = savedmodel.aligned_empty(4 * 64 + 64)
    x = noise(64, 4, seed=6)
    expected = predict(x)["y"]
    for place in overlapping(memory, (64, 3)):
        given = memory[16 : 16 + x.size].reshape(x.shape)
        given[...] = x
        np.testing.assert_array_equal(predict.run({"x": given}, out={"y": place})["y"], expected)

    combine = load("broadcasting_sums").signatures["serving_default"]
    inputs = {"x": noise(2, 3, 5, 4, seed=7), "y": noise(2, 3, 5, 6, seed=8)}
    results = combine.run(inputs)
    for key in ("conv", "swapped", "difference", "product"):
        place = noise(2, 3, 5, 6, seed=8)
        actual = combine.run({"x": inputs["x"], "y": place}, out={key: place})
        assert actual[key] is place
        assert_all_close(actual, results, f"{key} in the place of y")


def test_an_output_that_is_an_input_or_a_constant(load: Load, calls: Calls) -> None:
    """No kernel of the call's makes these results, so they are copied."""
    signature = load("passthrough_output").signatures["serving_default"]
    inputs = calls("passthrough_output")[0]["inputs"]
    expected = {key: v for key, v in signature.run(inputs).items() if v.dtype != object}
    out = {key: savedmodel.aligned_empty(v.shape, v.dtype) for key, v in expected.items()}
    result = signature.run(inputs, out=out)
    for key, array in out.items():
        assert result[key] is array
        np.testing.assert_array_equal(array, expected[key])


# ------------------------------------------------------------------ deadlines and errors


def test_a_deadline_ends_a_run_between_kernels(load: Load) -> None:
    signature = load("known_repetitions").signatures["serving_default"]
    few, many = noise(1, 192), noise(1024, 192)
    expected = signature(few)["y"]
    soon = savedmodel.RunOptions(timeout_in_ms=1)
    later = savedmodel.RunOptions(timeout_in_ms=600_000)
    for _ in range(3):
        with pytest.raises(savedmodel.DeadlineExceededError, match="known_repetitions"):
            signature.run({"x": many}, run_options=soon)
        np.testing.assert_array_equal(signature(few)["y"], expected)
        np.testing.assert_array_equal(signature.run({"x": few}, run_options=later)["y"], expected)


def test_a_deadline_leaves_other_calls_alone(load: Load) -> None:
    signature = load("known_repetitions").signatures["serving_default"]
    few, many = noise(2, 192), noise(1024, 192)
    expected = signature(few)["y"]
    soon = savedmodel.RunOptions(timeout_in_ms=1)

    def late(_: int) -> None:
        with pytest.raises(savedmodel.DeadlineExceededError):
            signature.run({"x": many}, run_options=soon)

    def in_time(_: int) -> None:
        np.testing.assert_array_equal(signature(few)["y"], expected)

    with ThreadPoolExecutor(4) as pool:
        tasks = [pool.submit(task, 0) for _ in range(8) for task in (late, in_time)]
        for task in tasks:
            task.result(SOON)


def test_an_error_of_a_kernel_says_where(load: Load) -> None:
    signature = load("checked").signatures["serving_default"]
    x = noise(2, 3)
    good = {"ids": np.array([1, 4], np.int32), "x": x}
    expected = signature.run(good)["rows"]
    out = savedmodel.aligned_empty((2, 3))
    for _ in range(3):
        for options in ({}, {"out": {"rows": out}}):
            with pytest.raises(savedmodel.InvalidArgumentError) as caught:
                signature.run({"ids": np.array([0, 7], np.int32), "x": x}, **options)
            message = str(caught.value)
            assert "checked" in message
            assert "signature 'serving_default'" in message
            assert "indices[1] = 7 is not in [0, 5)" in message
            assert "rows" in message.rpartition("node")[2], "the node's name"
        np.testing.assert_array_equal(signature.run(good)["rows"], expected)
        assert signature.run(good, out={"rows": out})["rows"] is out
        np.testing.assert_array_equal(out, expected)


# -------------------------------------------------------------------- other processors


@pytest.mark.parametrize(
    "environment",
    [
        {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"},
        {"ONEDNN_MAX_CPU_ISA": "AVX2"},
        {"ONEDNN_MAX_CPU_ISA": "SSE41"},
        {"TF_ENABLE_ONEDNN_OPTS": "0"},
        {"TF_ENABLE_ONEDNN_OPTS": "0", "ONEDNN_MAX_CPU_ISA": "SSE41"},
    ],
    ids=lambda environment: "-".join(f"{k}={v}" for k, v in environment.items()),
)
def test_other_instruction_sets(models: Path, environment: dict[str, str]) -> None:
    """TensorFlow's recorded answers; without AVX512-BF16 also from "max"."""
    done = run_python(
        """
import pickle, sys
from pathlib import Path
import numpy as np, savedmodel
for name in sys.argv[3:]:
    folder = Path(sys.argv[1], name)
    model = savedmodel.load(folder / "saved_model", optimize=sys.argv[2])
    for call in pickle.loads((folder / "calls.pkl").read_bytes()):
        outputs = model.signatures[call["signature"]].run(call["inputs"])
        for key, expected in call["outputs"].items():
            atol = 1e-5 * np.abs(expected).max()
            np.testing.assert_allclose(outputs[key], expected, rtol=0, atol=atol, err_msg=name)
    print(name)
""",
        str(models),
        "max" if "ONEDNN_MAX_CPU_ISA" in environment else "default",
        *LAYERED,
        **environment,
    )
    assert done.stdout.split() == LAYERED, done.stderr


@with_engine
def test_results_in_another_shape_stay_as_they_are(load: Load) -> None:
    """A reshape shares what the kernel before it gives, which may reuse memory that it kept."""
    signature = load("same_tensor_twice").signatures["serving_default"]
    results = []
    for number in range(4):
        x = np.full(3, number, np.float32)
        results.append(signature.run({"x": x}, outputs=["reshaped"])["reshaped"])
    for number, result in enumerate(results):
        np.testing.assert_array_equal(result, np.full((3, 1), 2 * number, np.float32))
