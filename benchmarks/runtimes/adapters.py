"""Each runtime as the benchmark uses it: import, load, and functions of no arguments that call.

An adapter is made in a process of its own. Making it imports the runtime, `load` loads the model,
and `caller` gives what one of several threads calls again and again with one array: the input is
where the runtime wants it before the first call, and each call leaves the outputs where NumPy can
read them, both without a copy where the runtime has a way to that; the adapters that say "arrays"
take and give arrays as a program at first would. All share a kernel's work among the same number of
threads.
"""

from __future__ import annotations

import ctypes
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import native
from benchmarks.runtimes.files import Array

CORES = 2
SIGNATURE = "serving_default"
MAX_BATCH_SIZE = 32

# What a caller gives: the outputs, in whatever form; `arrays` makes arrays of it.
Call = Callable[[], Any]


class Adapter(ABC):
    """A runtime, imported."""

    @abstractmethod
    def load(self, path: Path, threads: int) -> None:
        """Load the model: a SavedModel, or a file that was converted from one."""

    @abstractmethod
    def caller(self, array: Array, callers: int) -> Call:
        """What one of so many threads calls. To be asked for once for each of them.

        The array must live as long.
        """

    def arrays(self, result: Any) -> list[Array]:
        """The outputs of a call, in the order of their names."""
        return [np.asarray(result[name]) for name in sorted(result)]

    def about(self) -> str:
        """What is worth knowing of how it runs the loaded model; may be empty."""
        return ""


class SavedModel(Adapter):
    """This package, called as `signature(array)`."""

    def __init__(self, optimize: str) -> None:
        import savedmodel

        self._savedmodel = savedmodel
        self._load = savedmodel.load  # imports the extension
        self._optimize = optimize

    def load(self, path: Path, threads: int) -> None:
        # The other pool has as many threads as there are cores, as long as nothing is said of it;
        # then small graphs are run by their callers.
        options = self._savedmodel.SessionOptions(intra_op_parallelism_threads=threads)
        self._model = self._load(path, session_options=options, optimize=self._optimize)
        self._signature = self._model.signatures[SIGNATURE]
        (self._input,) = self._signature.inputs

    def caller(self, array: Array, callers: int) -> Call:
        signature, feeds = self._signature, {self._input: array}
        return lambda: signature(**feeds)

    def about(self) -> str:
        return ": ".join(filter(None, self._signature.runner))  # its name, and why


class SavedModelBound(SavedModel):
    """This package with its input bound."""

    def caller(self, array: Array, callers: int) -> Call:
        bound: Call = self._signature.bind(**{self._input: array})
        return bound


class SavedModelBatched(SavedModel):
    """This package with the rows of concurrent callers put into one batch."""

    def load(self, path: Path, threads: int) -> None:
        super().load(path, threads)
        self._batched = self._signature.batched(
            max_batch_size=MAX_BATCH_SIZE, batch_timeout_micros=0, num_batch_threads=CORES
        )

    def caller(self, array: Array, callers: int) -> Call:
        batched, feeds = self._batched, {self._input: array}
        return lambda: batched(**feeds)


class Libraries(Adapter):
    """TensorFlow's C++ libraries, loaded as this package loads them, and no model."""

    def __init__(self) -> None:
        import savedmodel

        _ = savedmodel.load  # imports the extension, which loads libtensorflow_framework

    def load(self, path: Path, threads: int) -> None:
        self._library = ctypes.CDLL(str(native.cc_library()), os.RTLD_LAZY)

    def caller(self, array: Array, callers: int) -> Call:
        return lambda: {}


class InCpp(Adapter):
    """One whose callers are threads of C++."""

    @abstractmethod
    def measure(self, array: Array, callers: int, seconds: float) -> tuple[Array, float]:
        """The nanoseconds of each call of all callers, and the seconds of all together."""


class SavedModelInCpp(SavedModelBound, InCpp):
    """This package's C++ API, each caller with its input bound; answers by Python."""

    FOLDER = native.ROOT / "build" / "runtimes"

    @classmethod
    def build(cls) -> None:
        """What calls. Before the first is made."""
        native.build_with_installed(Path(__file__).parent, cls.FOLDER)

    def load(self, path: Path, threads: int) -> None:
        super().load(path, threads)
        # After the extension, whose libsavedmodel and TensorFlow serve both.
        self._library = ctypes.CDLL(str(self.FOLDER / "libcallers.so"))
        self._library.Callers_Error.restype = ctypes.c_char_p
        self._library.Callers_Open.restype = ctypes.c_void_p
        self._library.Callers_Measure.restype = ctypes.c_int64
        self._library.Callers_Times.restype = ctypes.POINTER(ctypes.c_int64)
        self._callers = ctypes.c_void_p(
            self._library.Callers_Open(str(path).encode(), SIGNATURE.encode(), threads)
        )
        if not self._callers:
            self._fail()

    def measure(self, array: Array, callers: int, seconds: float) -> tuple[Array, float]:
        floats = np.ascontiguousarray(array, np.float32)
        elapsed = self._library.Callers_Measure(
            self._callers,
            (ctypes.c_int64 * array.ndim)(*array.shape),
            array.ndim,
            floats.ctypes.data_as(ctypes.POINTER(ctypes.c_float)),
            callers,
            ctypes.c_int64(int(seconds * 1e9)),
        )
        if elapsed < 0:
            self._fail()
        count = ctypes.c_int64()
        times = self._library.Callers_Times(self._callers, ctypes.byref(count))
        return np.ctypeslib.as_array(times, (count.value,)).copy(), elapsed / 1e9

    def _fail(self) -> None:
        raise RuntimeError(f"callers: {self._library.Callers_Error().decode()}")


class Bare(InCpp):
    """TensorFlow's C++ API in a C++ loop."""

    def __init__(self, library: Path) -> None:
        from benchmarks.overhead import bare

        self._bare, self._library = bare, library
        bare.load_library(library)

    def load(self, path: Path, threads: int) -> None:
        self._callable = self._bare.BareCallable(self._library, path, threads=threads)

    def caller(self, array: Array, callers: int) -> Call:
        self._callable.feed(array)
        return lambda: self._callable.run(1)

    def arrays(self, result: Any) -> list[Array]:
        return self._callable.outputs()

    def measure(self, array: Array, callers: int, seconds: float) -> tuple[Array, float]:
        self._callable.feed(array)
        return self._callable.measure(callers, seconds)


class TensorFlow(Adapter):
    """TensorFlow's Python: `tf.saved_model.load`, and a call of the signature."""

    def __init__(self) -> None:
        import tensorflow as tf

        self._tf = tf

    def load(self, path: Path, threads: int) -> None:
        self._tf.config.threading.set_intra_op_parallelism_threads(threads)
        self._tf.config.threading.set_inter_op_parallelism_threads(CORES)
        self._model = self._tf.saved_model.load(str(path))
        self._signature = self._model.signatures[SIGNATURE]
        (self._input,) = self._signature.structured_input_signature[1]

    def caller(self, array: Array, callers: int) -> Call:
        signature, feeds = self._signature, {self._input: self._tf.constant(array)}
        return lambda: {name: output.numpy() for name, output in signature(**feeds).items()}


class TensorFlow1(Adapter):
    """TensorFlow's Python: a session of TF1, and `Session.run` or what `make_callable` gives."""

    def __init__(self, make_callable: bool) -> None:
        import tensorflow as tf

        self._tf = tf
        self._make_callable = make_callable

    def load(self, path: Path, threads: int) -> None:
        tf1 = self._tf.compat.v1
        config = tf1.ConfigProto(
            intra_op_parallelism_threads=threads, inter_op_parallelism_threads=CORES
        )
        self._session = tf1.Session(graph=self._tf.Graph(), config=config)
        with self._session.graph.as_default():
            meta_graph = tf1.saved_model.load(self._session, ["serve"], str(path))
        signature = meta_graph.signature_def[SIGNATURE]
        (feed,) = signature.inputs.values()
        self._feed = self._session.graph.get_tensor_by_name(feed.name)
        self._fetches = [
            self._session.graph.get_tensor_by_name(signature.outputs[name].name)
            for name in sorted(signature.outputs)
        ]
        if self._make_callable:
            self._run = self._session.make_callable(self._fetches, [self._feed])

    def caller(self, array: Array, callers: int) -> Call:
        if self._make_callable:
            run = self._run
            return lambda: run(array)
        session, fetches, feeds = self._session, self._fetches, {self._feed: array}
        return lambda: session.run(fetches, feeds)

    def arrays(self, result: Any) -> list[Array]:
        return [np.asarray(output) for output in result]


class OnnxRuntime(Adapter):
    """ONNX Runtime, input and outputs bound to NumPy's memory (IOBinding)."""

    def __init__(self) -> None:
        import onnxruntime

        self._ort = onnxruntime

    def load(self, path: Path, threads: int) -> None:
        options = self._ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.graph_optimization_level = self._ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        self._session = self._ort.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        (self._input,) = (node.name for node in self._session.get_inputs())
        self._outputs = [node.name for node in self._session.get_outputs()]

    def caller(self, array: Array, callers: int) -> Call:
        session, binding = self._session, self._session.io_binding()
        outputs = dict(zip(self._outputs, session.run(None, {self._input: array}), strict=True))
        # On the CPU these wrap the arrays' own memory.
        wrap = self._ort.OrtValue.ortvalue_from_numpy
        binding.bind_ortvalue_input(self._input, wrap(array))
        for name, output in outputs.items():
            binding.bind_ortvalue_output(name, wrap(output))

        def call() -> Mapping[str, Array]:
            session.run_with_iobinding(binding)
            return outputs

        return call


class OnnxRuntimeArrays(OnnxRuntime):
    """ONNX Runtime as `session.run`."""

    def caller(self, array: Array, callers: int) -> Call:
        run, feeds, names = self._session.run, {self._input: array}, self._outputs
        return lambda: dict(zip(names, run(None, feeds), strict=True))


class LiteRt(Adapter):
    """LiteRT with XNNPACK. An interpreter serves one thread, so each caller has one."""

    def __init__(self) -> None:
        from ai_edge_litert import interpreter

        self._interpreters = interpreter

    def load(self, path: Path, threads: int) -> None:
        self._new = partial(self._interpreters.Interpreter, str(path))
        self._threads = threads
        self._loaded: Any = self._new(num_threads=threads)

    def caller(self, array: Array, callers: int) -> Call:
        interpreter, self._loaded = self._loaded, None
        if interpreter is None:
            interpreter = self._new(num_threads=self._threads if callers == 1 else 1)
        (input_,) = interpreter.get_input_details()
        if tuple(input_["shape"]) != array.shape:
            interpreter.resize_tensor_input(input_["index"], array.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(input_["index"], array)
        outputs = sorted(interpreter.get_output_details(), key=lambda output: output["name"])
        return self._call(interpreter, array, input_["index"], [out["index"] for out in outputs])

    def _call(self, interpreter: Any, array: Array, source: int, outputs: list[int]) -> Call:
        invoke, views = interpreter.invoke, [interpreter.tensor(index) for index in outputs]

        def call() -> Sequence[Array]:
            invoke()
            return [view() for view in views]

        return call

    def arrays(self, result: Any) -> list[Array]:
        return [np.array(output) for output in result]


class LiteRtArrays(LiteRt):
    """LiteRT, whose input is set and whose outputs are got."""

    def _call(self, interpreter: Any, array: Array, source: int, outputs: list[int]) -> Call:
        def call() -> Sequence[Array]:
            interpreter.set_tensor(source, array)
            interpreter.invoke()
            return [interpreter.get_tensor(output) for output in outputs]

        return call


class OpenVino(Adapter):
    """OpenVINO, input and outputs shared with NumPy."""

    def __init__(self) -> None:
        import openvino

        self._openvino = openvino

    def load(self, path: Path, threads: int) -> None:
        self._threads = threads
        self._source = path.suffix or "SavedModel"
        self._core = self._openvino.Core()
        self._model = self._core.read_model(str(path))
        self._compiled = {"LATENCY": self._compile("LATENCY")}

    def _compile(self, hint: str) -> Any:
        # The precision that the others have, too, on machines where it would take a lower one.
        settings = {
            "PERFORMANCE_HINT": hint,
            "INFERENCE_NUM_THREADS": self._threads if hint == "LATENCY" else CORES,
            "INFERENCE_PRECISION_HINT": "f32",
        }
        return self._core.compile_model(self._model, "CPU", settings)

    def caller(self, array: Array, callers: int) -> Call:
        request = self._request(callers)
        request.set_input_tensor(self._openvino.Tensor(array, shared_memory=True))
        infer = request.infer
        return lambda: infer(share_outputs=True)

    def _request(self, callers: int) -> Any:
        hint = "LATENCY" if callers == 1 else "THROUGHPUT"
        if hint not in self._compiled:
            self._compiled[hint] = self._compile(hint)
        return self._compiled[hint].create_infer_request()

    def arrays(self, result: Any) -> list[Array]:
        named = {min(port.get_names(), default=""): port for port in result}
        return [np.array(result[named[name]]) for name in sorted(named)]

    def about(self) -> str:
        return f"from its {self._source}"


class OpenVinoArrays(OpenVino):
    """OpenVINO as `request.infer(array)`."""

    def caller(self, array: Array, callers: int) -> Call:
        infer = self._request(callers).infer
        return lambda: infer(array)
