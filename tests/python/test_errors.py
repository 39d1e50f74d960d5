"""Bad input: the right exception, a message that says what was expected and what came."""

from __future__ import annotations

import builtins
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import savedmodel
from conftest import DIGITS, SOON, run_python
from savedmodel import errors

IMAGE = np.zeros((1, 8, 8, 1), np.float32)


@pytest.mark.parametrize("code", list(savedmodel.ErrorCode))
def test_every_code_has_its_class(code: savedmodel.ErrorCode) -> None:
    cls = errors.exception_type(code)
    assert cls.code is code
    assert issubclass(cls, savedmodel.SavedModelError)
    assert getattr(savedmodel, cls.__name__) is cls
    assert str(cls("a message")) == "a message"


@pytest.mark.parametrize(
    ("name", "builtin"),
    [
        ("NotFoundError", "FileNotFoundError"),
        ("InvalidArgumentError", "ValueError"),
        ("DeadlineExceededError", "TimeoutError"),
        ("PermissionDeniedError", "PermissionError"),
        ("AlreadyExistsError", "FileExistsError"),
        ("ResourceExhaustedError", "MemoryError"),
        ("UnimplementedError", "NotImplementedError"),
        ("OutOfRangeError", "IndexError"),
        ("DataLossError", "ValueError"),
        ("FailedPreconditionError", "RuntimeError"),
    ],
)
def test_errors_are_the_builtins_that_one_would_catch(name: str, builtin: str) -> None:
    assert issubclass(getattr(savedmodel, name), getattr(builtins, builtin))


CASES: list[tuple[str, Callable[[savedmodel.Signature], object], type[Exception], str]] = [
    ("unknown", lambda s: s(img=IMAGE), ValueError, r"no input 'img'; inputs: 'image'"),
    ("missing", lambda s: s(), ValueError, r"missing input 'image' \(float32 with shape"),
    ("extra", lambda s: s(image=IMAGE, y=1), ValueError, r"no input 'y'"),
    ("both", lambda s: s(IMAGE, image=IMAGE), TypeError, r"inputs go by keyword"),
    ("positions", lambda s: s(IMAGE, IMAGE), TypeError, r"inputs go by keyword"),
    ("no mapping", lambda s: s.run(IMAGE), TypeError, r"inputs: expected a mapping"),
    ("key", lambda s: s.run({1: IMAGE}), ValueError, r"no input 1"),
    (
        "dtype",
        lambda s: s(IMAGE.astype(np.float64)),
        TypeError,
        r"expected float32 with shape \(None, 8, 8, 1\), got float64 with shape \(1, 8, 8, 1\)",
    ),
    (
        "rank",
        lambda s: s(IMAGE[0]),
        ValueError,
        r"expected float32 with shape \(None, 8, 8, 1\), got float32 with shape \(8, 8, 1\)",
    ),
    (
        "dimension",
        lambda s: s(np.zeros((1, 8, 9, 1), np.float32)),
        ValueError,
        r"got float32 with shape \(1, 8, 9, 1\)",
    ),
    ("none", lambda s: s(None), TypeError, r"got a NoneType"),
    ("output", lambda s: s.run({"image": IMAGE}, outputs=["p"]), ValueError, r"no output 'p'"),
    ("output type", lambda s: s.run({"image": IMAGE}, outputs=[1]), TypeError, r"outputs"),
    ("output none", lambda s: s.run({"image": IMAGE}, outputs=[]), ValueError, r"nothing to run"),
    ("options", lambda s: s.run({"image": IMAGE}, run_options=3), TypeError, r"RunOptions"),
    (
        "option bytes",
        lambda s: s.run({"image": IMAGE}, run_options=b"\xff"),
        ValueError,
        r"not a serialized RunOptions",
    ),
]


@pytest.mark.parametrize(
    ("use", "error", "match"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_wrong_calls(
    digits: savedmodel.Model,
    use: Callable[[savedmodel.Signature], object],
    error: type[Exception],
    match: str,
) -> None:
    signature = digits.signatures["serving_default"]
    with pytest.raises(error, match=match) as caught:
        use(signature)
    if error is ValueError and "serialized" not in match:
        assert isinstance(caught.value, savedmodel.InvalidArgumentError)
        assert f"model '{DIGITS}', signature 'serving_default'" in str(caught.value)
    signature(IMAGE)  # the model is as usable as before


def test_an_error_of_the_graph_itself(load: Callable[..., savedmodel.Model]) -> None:
    signature = load("image_decode").signatures
    (name, decode) = next((n, s) for n, s in signature.items() if "string" in repr(s))
    (key,) = decode.inputs
    with pytest.raises(savedmodel.InvalidArgumentError, match=f"signature '{name}'"):
        decode.run({key: np.array(b"not an image", object)})


MISSING = {
    "no directory": lambda path: path / "absent",
    "empty directory": lambda path: path,
}


@pytest.mark.parametrize("make", MISSING.values(), ids=MISSING)
def test_nothing_to_load(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    path = make(tmp_path)
    with pytest.raises(savedmodel.NotFoundError, match=str(path)) as caught:
        savedmodel.load(path)
    assert isinstance(caught.value, FileNotFoundError)


@pytest.mark.parametrize("path", [1, None, object()])
def test_a_path_of_another_type(path: Any) -> None:
    with pytest.raises(TypeError):
        savedmodel.load(path)


# Of each broken model: what loading, or else the first call, raises and says.
BROKEN: dict[str, tuple[type[Exception], str]] = {
    "case_without_branches": (
        savedmodel.InvalidArgumentError,
        "node 'case': a Case without branches",
    ),
    "constant_without_value": (
        savedmodel.InvalidArgumentError,
        "node 'weight': a constant without a value",
    ),
    "asset_outside": (savedmodel.InvalidArgumentError, "leaves the assets folder"),
    "default_of_another_dtype": (savedmodel.DataLossError, "its default value is int32"),
    "recursive_function": (savedmodel.InvalidArgumentError, "calls itself"),
    "deep_calls": (savedmodel.InvalidArgumentError, "nested too deep"),
    "absent_device": (savedmodel.InvalidArgumentError, "/device:GPU:7"),
    "corrupt_shard": (savedmodel.DataLossError, "[Cc]hecksum does not match"),
    "dangling_input": (savedmodel.InvalidArgumentError, "'nobody'"),
    "empty_proto": (savedmodel.DataLossError, "holds no MetaGraph"),
    "file_not_folder": (savedmodel.NotFoundError, "is not a directory"),
    "garbage_index": (savedmodel.DataLossError, "bad magic number"),
    "garbage_pbtxt": (savedmodel.DataLossError, "Can't parse"),
    "garbage_proto": (savedmodel.DataLossError, "Can't parse"),
    "graph_cycle": (savedmodel.InvalidArgumentError, "in a cycle"),
    "huge_constant": (savedmodel.InvalidArgumentError, "attribute 'value'"),
    "invalid_dtype": (savedmodel.InvalidArgumentError, "input 'x' has dtype 9999"),
    "missing_asset": (savedmodel.NotFoundError, "No such file"),
    "missing_function": (savedmodel.InvalidArgumentError, "Failed to find function"),
    "missing_key": (savedmodel.NotFoundError, "weight/.ATTRIBUTES/VARIABLE_VALUE"),
    "wrong_shape": (savedmodel.InvalidArgumentError, "size-incompatible|weight"),
    "wrong_dtype": (savedmodel.InvalidArgumentError, "weight/.ATTRIBUTES/VARIABLE_VALUE"),
    "flipped_bit": (savedmodel.DataLossError, "[Cc]hecksum does not match"),
    "truncated_index": (savedmodel.DataLossError, "bad magic number"),
    "missing_shard": (savedmodel.NotFoundError, "data-00000-of-00001"),
    "missing_variables": (savedmodel.NotFoundError, "has variables, but"),
    "negative_dimension": (savedmodel.InvalidArgumentError, "a dimension of size -7"),
    "no_cpu_kernel": (savedmodel.InvalidArgumentError, "No OpKernel was registered"),
    "no_kernel_for_dtype": (savedmodel.InvalidArgumentError, "No OpKernel was registered"),
    "no_meta_graph": (savedmodel.DataLossError, "holds no MetaGraph"),
    "no_proto": (savedmodel.NotFoundError, "neither saved_model.pb nor saved_model.pbtxt"),
    "no_serve_tag": (savedmodel.InvalidArgumentError, r"\{'train'\}"),
    "signature_of_absent_output": (savedmodel.InvalidArgumentError, "'y:5'"),
    "signature_of_absent_tensor": (savedmodel.InvalidArgumentError, "no tensor 'nowhere:0'"),
    "signature_without_tensor_name": (savedmodel.InvalidArgumentError, "no tensor ''"),
    "truncated_proto": (savedmodel.DataLossError, "truncated"),
    "truncated_shard": (savedmodel.DataLossError, "truncated"),
    "huge_string": (savedmodel.DataLossError, "longer than the data"),
    "too_many_strings": (savedmodel.DataLossError, "268435456 strings in 9 bytes"),
    "negative_slice": (savedmodel.DataLossError, "a slice that leaves the tensor"),
    "tensor_of_variants": (savedmodel.UnimplementedError, "tensors of variant"),
    "unfilled_variable": (
        savedmodel.FailedPreconditionError,
        "variable 'weight', which signature 'serving_default' needs",
    ),
    "unknown_op": (savedmodel.NotFoundError, "NoSuchOp"),
    "unknown_op_in_function": (savedmodel.NotFoundError, "NoSuchOp"),
    "wrong_constant_size": (savedmodel.InvalidArgumentError, "Cannot parse tensor"),
}


# Of these the right answer is as good as an error: their signature does not need what is broken.
ODD_OBJECTS = {
    "bound_input_of_another_kind",
    "bound_input_out_of_range",
    "child_out_of_range",
    "concrete_function_without_body",
    "dependency_out_of_range",
    "negative_child",
    "no_objects",
    "object_that_holds_itself",
    "slot_variable_out_of_range",
    "too_few_captures",
    "too_many_captures",
    "unlisted_concrete_function",
    "variable_of_no_dtype",
}


def test_every_broken_model_is_listed(broken_models: Path) -> None:
    names = {path.parent.name for path in broken_models.glob("*/saved_model")}
    assert names == BROKEN.keys() | ODD_OBJECTS


@pytest.mark.parametrize("name", sorted(ODD_OBJECTS))
def test_odd_objects(broken_models: Path, name: str) -> None:
    path = broken_models / name / "saved_model"
    try:
        with savedmodel.load(path) as model:
            outputs = model.signatures["serving_default"](x=np.zeros((2, 3), np.float32))
    except savedmodel.SavedModelError as error:
        message = str(error)
        assert str(path) in message
    else:
        bias = np.random.default_rng(2).standard_normal(2).astype(np.float32)
        np.testing.assert_array_equal(outputs["y"], [bias, bias])


@pytest.mark.parametrize("name", sorted(BROKEN.keys() | ODD_OBJECTS))
def test_inspecting_broken_models(broken_models: Path, name: str) -> None:
    """What can be told of them is told; where that is nothing, an error names the model."""
    path = broken_models / name / "saved_model"
    try:
        inspection = savedmodel.inspect(path)
    except savedmodel.SavedModelError as error:
        message = str(error)
        assert str(path) in message
    else:
        assert str(path) in str(inspection)


@pytest.mark.parametrize("name", BROKEN)
def test_broken_models(broken_models: Path, name: str) -> None:
    error, match = BROKEN[name]
    path = broken_models / name / "saved_model"

    def use() -> None:
        with savedmodel.load(path) as model:
            for signature in model.signatures.values():
                signature.run(
                    {
                        key: np.zeros([size or 1 for size in spec.shape or ()], spec.dtype)
                        for key, spec in signature.inputs.items()
                    }
                )

    with pytest.raises(error, match=match) as caught:
        use()
    assert str(path) in str(caught.value)


FUZZ = """
import random, shutil, sys
from pathlib import Path
import numpy as np
import savedmodel
source, work = Path(sys.argv[1]), Path(sys.argv[2])
seed, rounds = int(sys.argv[3]), int(sys.argv[4])
options = savedmodel.RunOptions(timeout_in_ms=10000)
random.seed(seed)
files = [p for p in source.rglob("*") if p.is_file() and p.name != "fingerprint.pb"]
outcomes = {}
for round in range(rounds):
    target = work / f"m{round}"
    shutil.copytree(source, target)
    victim = target / random.choice(files).relative_to(source)
    data = bytearray(victim.read_bytes())
    kind = random.randrange(4)
    for _ in range(random.choice([1, 1, 4, 32])):
        at = random.randrange(len(data))
        if kind == 0: data[at] ^= 1 << random.randrange(8)
        elif kind == 1: data[at] = random.randrange(256)
        elif kind == 2: del data[at : at + random.randrange(1, 64)]
        else: data[at:at] = bytes(random.randrange(256) for _ in range(random.randrange(1, 16)))
        if not data: data = bytearray(1)
    victim.write_bytes(data)
    print(seed, round, victim.name, flush=True)
    try:
        with savedmodel.load(target, run_options=options) as model:
            for signature in model.signatures.values():
                signature.run({
                    name: np.zeros([size or 1 for size in spec.shape or ()], spec.dtype)
                    for name, spec in signature.inputs.items()
                })
        outcome = "ran"
    except (savedmodel.SavedModelError, TypeError) as error:
        outcome = type(error).__name__
    outcomes[outcome] = outcomes.get(outcome, 0) + 1
    shutil.rmtree(target)
print(outcomes)
"""


@pytest.mark.parametrize("seed", range(2))
def test_hostile_bytes(tmp_path: Path, seed: int) -> None:
    """Random damage to any file: an answer or an exception, never the end of the process."""
    done = subprocess.run(
        [sys.executable, "-c", FUZZ, str(DIGITS), str(tmp_path), str(seed), "60"],
        capture_output=True,
        text=True,
        timeout=4 * SOON,
    )
    assert done.returncode == 0, (done.stdout[-300:], done.stderr[-3000:])
    assert "Error" in done.stdout.splitlines()[-1]


HOSTILE = {
    "a value that clears the feeds": """
class Evil:
    @property
    def __array__(self):
        feeds.clear()
        raise AttributeError
feeds = {name: Evil(), name.replace(":0", ""): Evil()}
try: model.session.run(feeds, [name])
except (TypeError, ValueError): print("refused")
""",
    "options that hold themselves": """
cycle = []
cycle.append(cycle)
try: savedmodel.SessionOptions(device_filters=cycle)
except RecursionError: print("refused")
""",
    "objects made by __new__": """
for cls in (savedmodel.Signature, savedmodel.BoundCall):
    try: cls.__new__(cls)()
    except TypeError as error: refused = str(error)
print("refused" if "cannot be made" in refused else refused)
""",
    "an interrupt during conversion": """
class Interrupted:
    def __dlpack__(self, **options): raise KeyboardInterrupt
    def __dlpack_device__(self): return (1, 0)
try: signature(image=Interrupted())
except KeyboardInterrupt: print("refused")
""",
    "a path with a NUL": """
try: savedmodel.load("a" + chr(0) + "b")
except ValueError: print("refused")
""",
    "one metadata for many threads": """
import threading
metadata = savedmodel.RunMetadata()
options = savedmodel.RunOptions(trace_level="FULL_TRACE")
def write():
    for _ in range(50): signature.run({"image": image}, run_options=options, metadata=metadata)
def read():
    for _ in range(500): metadata.SerializeToString(), metadata.to_dict()
threads = [threading.Thread(target=t) for t in (write, write, write, read)]
for t in threads: t.start()
for t in threads: t.join()
size = len(metadata.step_stats["dev_stats"])
write()
assert len(metadata.step_stats["dev_stats"]) == size, "filled anew, not appended to"
print("refused")
""",
    "a cost model without metadata": """
options = savedmodel.SessionOptions(graph_options={"build_cost_model": 1})
with savedmodel.load(sys.argv[1], session_options=options) as measured:
    for _ in range(5): measured.signatures["serve"](image)
print("refused")
""",
}


@pytest.mark.parametrize("code", HOSTILE.values(), ids=HOSTILE)
def test_hostile_python(code: str) -> None:
    """None of these ends the process."""
    prelude = """
import sys
import numpy as np, savedmodel
model = savedmodel.load(sys.argv[1])
signature = model.signatures["serve"]
image = np.zeros((1, 8, 8, 1), np.float32)
name = signature.inputs["image"].name
"""
    done = run_python(prelude + code, str(DIGITS))
    assert done.stdout == "refused\n", done.stderr[-2000:]


def test_copy_false_where_reference_variables_are_copied(
    load: Callable[..., savedmodel.Model],
) -> None:
    with pytest.raises(ValueError, match="reference variables"):
        load("tf1_counter").signatures["reference"].run({}, copy=False)
