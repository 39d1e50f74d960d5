"""`savedmodel bench`."""

from __future__ import annotations

import json
import re
import shutil
import signal
import threading
import xml.etree.ElementTree
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import savedmodel
from conftest import DIGITS
from savedmodel import cli
from savedmodel.cli import bench_plot, calls, closed_loop

SHORT = ("--duration", "0.02", "--warmup", "0")
HOSTILE_KEY = "--><b>\x1b[31m$x$_{"

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def hostile_model(models: Path, tmp_path: Path) -> Path:
    """A SavedModel in whose names there are control characters, HTML and TeX."""
    folder = tmp_path / "<script>\x1b]0;"
    shutil.copytree(models / "pbtxt_form" / "saved_model", folder)
    proto = folder / "saved_model.pbtxt"
    text = proto.read_text()
    for name in ("serving_default", "x"):
        old, new = f'key: "{name}"', f'key: "{HOSTILE_KEY}"'.replace("\x1b", "\\033")
        assert old in text
        text = text.replace(old, new)
    proto.write_text(text)
    return folder


def bench(*arguments: str) -> int:
    return cli.main(["bench", *SHORT, *arguments])


def figures(capsys: Capture, *arguments: str) -> dict[str, Any]:
    assert bench("--json", *arguments) == 0
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    return report


def test_json_has_every_figure(capsys: Capture) -> None:
    report = figures(
        capsys, "--dir", str(DIGITS), "--concurrency", "1,3", "--batch", "2,5", "--intra_op", "1"
    )
    assert set(report) == {
        *("versions", "machine", "model", "settings", "load", "memory", "results")
    }
    assert set(report["versions"]) == {"savedmodel", "tensorflow", "numpy", "python"}
    assert report["model"]["signature"] == "serving_default"
    assert report["model"]["inputs"] == {
        "image": {"dtype": "float32", "shapes": [[2, 8, 8, 1], [5, 8, 8, 1]], "random": True}
    }
    assert report["settings"] == {
        "loop": "closed",
        "duration_s": 0.02,
        "warmup_s": 0.0,
        "intra_op_threads": 1,
        "inter_op_threads": None,
    }
    load = report["load"]
    assert {"read", "create", "restore", "init"} <= set(load["phases"])
    assert sum(phase["s"] for phase in load["phases"].values()) <= load["load_s"]
    assert load["variables_bytes"] > 0
    memory = report["memory"]
    # The kernel counts both in batches of pages, for each processor.
    assert 0 < memory["resident_before_load_bytes"] < 1.02 * memory["resident_peak_bytes"]
    assert [(each["batch"], each["concurrency"]) for each in report["results"]] == [
        *((2, 1), (2, 3), (5, 1), (5, 3))
    ]
    for each in report["results"]:
        assert each["calls"] >= each["concurrency"]
        assert each["examples"] == each["calls"] * each["batch"]
        assert each["calls_per_s"] == pytest.approx(each["calls"] / each["elapsed_s"])
        assert each["examples_per_s"] == pytest.approx(each["calls_per_s"] * each["batch"])
        assert each["copies"]["calls"] >= each["calls"]
        assert (each["copies"]["count"], each["copies"]["bytes"]) == (0, 0)
        latency = each["latency_us"]
        assert list(latency) == ["min", "mean", "p50", "p90", "p99", "max"]
        ordered = [latency[name] for name in ("min", "p50", "p90", "p99", "max")]
        assert ordered == sorted(ordered)
        assert latency["min"] <= latency["mean"] <= latency["max"]
        assert latency["max"] <= each["elapsed_s"] * 1e6
        # In a closed loop the threads' times are made of their calls.
        total = latency["mean"] * each["calls"]
        assert total <= each["concurrency"] * each["elapsed_s"] * 1e6 * (1 + 1e-9)


def test_json_to_a_file_leaves_the_tables(tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "figures.json"
    assert bench("--dir", str(DIGITS), "--json", str(file)) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    (result,) = json.loads(file.read_text())["results"]
    assert re.search(r"batch +threads +calls/s +examples/s", printed.out)
    units, _, numbers = printed.out.splitlines()[-3:]
    longest = float(numbers.split()[-1].replace(",", ""))
    longest *= {"us": 1, "ms": 1e3, "s": 1e6}[units.split()[-1]]
    assert longest == pytest.approx(result["latency_us"]["max"], rel=0.01)
    assert max(map(len, printed.out.splitlines())) <= 80


def test_copies_of_strings_are_told(models: Path, capsys: Capture) -> None:
    model = models / "string_concat" / "saved_model"
    with savedmodel.load(model) as loaded:
        signature = loaded.signatures["serving_default"]
        specs = [*signature.inputs.values(), *signature.outputs.values()]
        strings = sum(spec.dtype == object for spec in specs)
    copies = figures(capsys, "--dir", str(model))["results"][0]["copies"]
    assert copies["count"] == copies["calls"] * strings
    assert list(copies["by_reason"]) == ["string"]


def test_every_call_is_measured_in_a_closed_loop() -> None:
    counts = [0, 0, 0]
    under_way, most_under_way = 0, 0
    lock = threading.Lock()

    def call(index: int) -> None:
        nonlocal under_way, most_under_way
        with lock:
            under_way += 1
            most_under_way = max(most_under_way, under_way)
        counts[index] += 1
        with lock:
            under_way -= 1

    samples = closed_loop.run(
        [lambda index=index: call(index) for index in range(3)], warmup_s=0, duration_s=0.05
    )
    assert samples.all_calls == len(samples.latencies_ns) == sum(counts)
    assert (np.diff(samples.latencies_ns) >= 0).all()
    assert min(counts) >= 1
    assert most_under_way <= 3
    assert samples.latencies_ns.sum() <= 3 * samples.elapsed_ns
    assert samples.percentile_ns(0) == samples.latencies_ns[0]
    assert samples.percentile_ns(100) == samples.latencies_ns[-1]
    assert samples.percentile_ns(50) in samples.latencies_ns


def test_warm_up_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    now_ns = 0
    monkeypatch.setattr(closed_loop, "time", SimpleNamespace(perf_counter_ns=lambda: now_ns))
    begun: list[int] = []

    def call() -> None:
        nonlocal now_ns
        now_ns += 10**6

    samples = closed_loop.run(
        [call], warmup_s=0.02, duration_s=0.05, on_measure=lambda: begun.append(1)
    )
    assert begun == [1]
    assert samples.all_calls == 20 + 50
    assert samples.latencies_ns.tolist() == [10**6] * 50
    assert samples.elapsed_ns == 50 * 10**6


def test_a_call_that_fails_ends_the_loop() -> None:
    calls_made = 0

    def fail() -> None:
        nonlocal calls_made
        calls_made += 1
        if calls_made > 2:
            raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        # Whose duration would be a hundred minutes.
        closed_loop.run([fail, lambda: None], warmup_s=0, duration_s=6000)


def test_an_interrupt_ends_the_loop() -> None:
    # What a shell starts in the background is told to ignore it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    calls_made = 0

    def interrupt() -> None:
        nonlocal calls_made
        calls_made += 1
        if calls_made == 2:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    try:
        with pytest.raises(KeyboardInterrupt):
            closed_loop.run([interrupt], warmup_s=0, duration_s=6000)
    finally:
        signal.signal(signal.SIGINT, before)


def test_random_inputs_of_every_model(models: Path, capsys: Capture) -> None:
    """Each signature takes them, or refuses their values with an error of TensorFlow."""
    taken, refused, dtypes = 0, 0, set()
    for folder in sorted(models.iterdir()):
        # Signatures of "batching" wait for each other; oneDNN divides by zero on images of a pixel.
        if folder.name in {"batching", "windows"} or "tag" in folder.name:
            continue
        if not (folder / "saved_model").is_dir():
            continue
        with savedmodel.load(folder / "saved_model") as model:
            for signature in model.signatures.values():
                inputs = calls.make_inputs(signature, {}, {}, 2)
                for name, array in inputs.arrays.items():
                    assert array.dtype == signature.inputs[name].dtype
                    dtypes.add(array.dtype.name)
                try:
                    signature(**inputs.arrays)
                    taken += 1
                except savedmodel.SavedModelError:
                    refused += 1
    assert taken > 150
    assert refused < 15
    assert {"bfloat16", "bool", "complex64", "float8_e5m2", "int4", "object", "uint8"} <= dtypes


@pytest.mark.parametrize(
    "name", ["keras_cnn", "keras_string_lookup", "tf1_ref_variables", "many_inputs_outputs"]
)
def test_models(name: str, models: Path, capsys: Capture) -> None:
    report = figures(capsys, "--dir", str(models / name / "saved_model"), "--concurrency", "2")
    assert report["results"][0]["calls"] >= 2


def test_shapes(models: Path, capsys: Capture) -> None:
    model = str(models / "convolutions" / "saved_model")
    # Without them the images are of one pixel.
    report = figures(capsys, "--dir", model, "--shape", "x=-1,16,16,2", "--batch", "3")
    assert report["model"]["inputs"]["x"]["shapes"] == [[3, 16, 16, 2]]


def test_refused_values(models: Path, capsys: Capture) -> None:
    model = str(models / "image_decode" / "saved_model")
    assert bench("--dir", model, "--signature_def", "decode") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "Unknown image file format" in line
    assert "--inputs" in line


def test_given_inputs(models: Path, capsys: Capture) -> None:
    model = str(models / "keras_two_inputs_two_outputs" / "saved_model")
    with savedmodel.load(model) as loaded:
        specs = loaded.signatures["serving_default"].inputs
    (name, spec), (other, _) = specs.items()
    sizes = (7, *spec.shape[1:])
    given = ("--dir", model, "--input_exprs", f"{name}=np.ones({sizes})")
    report = figures(capsys, *given)
    told = report["model"]["inputs"]
    assert told[name] == {"dtype": "float32", "shapes": [list(sizes)], "random": False}
    # What is not given is random, with as many examples.
    assert told[other]["random"]
    assert told[other]["shapes"][0][0] == 7
    assert report["results"][0]["batch"] == 7
    assert bench(*given, "--batch", "2") == 2
    assert "--batch is for random inputs" in capsys.readouterr().err


def test_given_values_that_are_refused(capsys: Capture) -> None:
    assert bench("--dir", str(DIGITS), "--input_exprs", "image=np.ones((1, 8, 8, 2))") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "(1, 8, 8, 2)" in line
    assert "random" not in line


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--signature_def", "nope"], 1, "no signature 'nope'"),
        (["--shape", "nope=1"], 2, "no random input 'nope'"),
        (["--shape", "image=1,8,8,1", "--batch", "2"], 2, "no input whose first size is open"),
        (["--shape", "image=99999999999,8,8,1"], 1, "too large"),
        (["--batch", "999999999999"], 1, "too large"),
        (["--shape", "image=1,9,9,1"], 1, "image"),
        (["--plot", "x.gif"], 2, "expected a file name with .png, .svg, .html"),
        (["--plot", "no/such/directory/x.png"], 2, "no such directory"),
        (["--tag_set", "nope"], 1, "tag set"),
    ],
)
def test_errors(arguments: list[str], status: int, message: str, capsys: Capture) -> None:
    assert bench("--dir", str(DIGITS), *arguments) == status
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


@pytest.mark.parametrize(
    "arguments",
    [
        *(["--concurrency", text] for text in ("0", "1,", "x", "5000")),
        *(["--batch", text] for text in ("0", "-1", "1.5")),
        *(["--duration", text] for text in ("nan", "inf", "-1", "x")),
        *(["--shape", text] for text in ("x", "x=1,-1", "x=-2", "x=a")),
        ["--intra_op", "0"],
    ],
)
def test_wrong_usage(arguments: list[str], capsys: Capture) -> None:
    with pytest.raises(SystemExit) as exit_status:
        bench("--dir", str(DIGITS), *arguments)
    assert exit_status.value.code == 2


@pytest.mark.parametrize(
    "varied",
    [
        [],
        ["--concurrency", "1,2"],
        ["--batch", "1,2"],
        ["--concurrency", "1,2", "--batch", "1,2,3,4,5"],
    ],
)
def test_plot(varied: list[str], tmp_path: Path) -> None:
    from PIL import Image

    files = [tmp_path / f"plot.{suffix}" for suffix in ("png", "svg", "html")]
    assert bench("--dir", str(DIGITS), *varied, "--plot", str(files[0])) == 0
    with Image.open(files[0]) as image:
        image.load()
        assert min(image.size) > 500
        assert image.convert("L").getextrema()[0] < 64
    for file in files[1:]:
        assert bench("--dir", str(DIGITS), *varied, "--plot", str(file)) == 0
        text = file.read_text(encoding="utf-8")
        # Namespaces are names; nothing is fetched.
        assert not re.search(r"(src|href)\s*=\s*[\"'](?!#)|@import|url\((?!#)|<script|<link", text)
    assert xml.etree.ElementTree.parse(files[1]).getroot().tag.endswith("svg")
    page = files[2].read_text(encoding="utf-8")
    assert "<!DOCTYPE svg" not in page
    assert page.count("<tr>") > len(varied)
    xml.etree.ElementTree.fromstring(page[page.index("<svg") : page.index("</svg>") + 6])


@pytest.mark.parametrize("suffix", ["png", "svg", "html"])
def test_hostile_names(suffix: str, hostile_model: Path, tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / f"plot.{suffix}"
    shape = f"--shape={HOSTILE_KEY}=2,3"
    assert bench("--dir", str(hostile_model), "--plot", str(file), shape) == 0
    printed = capsys.readouterr()
    assert "\x1b" not in printed.out + printed.err
    assert "\\x1b[31m$x$_{" in printed.out
    if suffix != "png":
        text = file.read_text(encoding="utf-8")
        assert "\x1b" not in text
        assert not re.search("<b>|<script|--><", text)


def test_plot_without_matplotlib(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setattr(bench_plot.importlib.util, "find_spec", lambda name: None)
    assert bench("--dir", str(DIGITS), "--plot", "x.png") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "pip install savedmodel[plot]" in line


def test_no_progress_bar_without_a_terminal(capsys: Capture) -> None:
    assert bench("--dir", str(DIGITS)) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert "\x1b" not in printed.out
