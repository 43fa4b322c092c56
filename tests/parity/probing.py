"""A model that tries out what models are given (pb_utils) and says what came of it: one probe, one answer.

What makes 2.51 hang or abort is not asked here (a wrong use of metrics, odd arguments of `is_model_ready`, None for a
response): tests/e2e holds what we do then.
"""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.decoupled import REPEAT, write_decoupled
from tests.support.repositories import write_constant, write_model

CONFIG = """
backend: "python"
input { name: "PROBE" data_type: TYPE_STRING dims: [ 1 ] }
input { name: "FP32" data_type: TYPE_FP32 dims: [ -1, 2 ] optional: true }
input { name: "TEXT" data_type: TYPE_STRING dims: [ -1 ] optional: true }
output { name: "SAID" data_type: TYPE_STRING dims: [ 1 ] }
output { name: "OTHER" data_type: TYPE_FP32 dims: [ 1 ] }
parameters { key: "given" value { string_value: "yes" } }
"""
SOURCE = '''
import inspect, json, os, sys, threading
import numpy as np
import triton_python_backend_utils as pb_utils

ARGS = {}


def array(*values, dtype="f4"):
    return np.array(values, dtype)


def tensor(*values, dtype="f4", name="T"):
    return pb_utils.Tensor(name, array(*values, dtype=dtype))


def call(model, *inputs, **more):
    more.setdefault("requested_output_names", [])
    return pb_utils.InferenceRequest(model_name=model, inputs=list(inputs), **more)


def asked(value=True):
    return pb_utils.Tensor("ASKED", np.array([value]))


def shown(response):
    if response.has_error():
        return ["error", response.error().message()]
    return [[tensor.name(), tensor.as_numpy().tolist()] for tensor in response.output_tensors()]


def refused(*attempts):
    """The exception of each, as its kind and its words."""
    said = []
    for attempt in attempts:
        try:
            said.append(["returned", repr(attempt())])
        except BaseException as error:
            said.append([type(error).__name__, str(error)])
    return said


class Probes:
    """Each is given the request."""

    def tensor_facts(self, request):
        found = pb_utils.get_input_tensor_by_name(request, "FP32")
        values = found.as_numpy()
        return [found.name(), found.shape(), type(found.shape()).__name__, found.is_cpu(), values.tolist(),
                str(values.dtype), values.flags.writeable, values.flags.owndata]

    def tensor_text(self, request):
        values = pb_utils.get_input_tensor_by_name(request, "TEXT").as_numpy()
        return [str(values.dtype), [type(value).__name__ for value in values], [value.hex() for value in values]]

    def tensor_keeps_the_array(self, request):
        values = array(1, 2)
        made = pb_utils.Tensor("T", values)
        values[0] = 7
        return [made.as_numpy() is values, made.as_numpy().tolist()]

    def tensor_copies_what_is_strided(self, request):
        values = np.arange(6, dtype="f4").reshape(2, 3).T
        made = pb_utils.Tensor("T", values)
        return [made.shape(), made.as_numpy().tolist(), made.as_numpy().flags.c_contiguous]

    def tensor_dtypes(self, request):
        kinds = ["?", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8", "O", "S3"]
        return [str(pb_utils.Tensor("T", np.ones(1, kind)).as_numpy().dtype) for kind in kinds]

    def tensor_no_dims(self, request):
        return pb_utils.Tensor("T", np.array(5, "i4")).shape()

    def tensor_wrong_dtype(self, request):
        return refused(*(lambda kind=kind: pb_utils.Tensor("T", np.ones(1, kind)) for kind in ("c8", ">f4", "U3")))

    def tensor_wrong_arguments(self, request):
        return [kind for kind, _ in refused(
            lambda: pb_utils.Tensor("T", [1]), lambda: pb_utils.Tensor("T", np.float32(1)),
            lambda: pb_utils.Tensor(name="T", array=array(1)), lambda: pb_utils.Tensor(3, array(1)))]

    def tensor_no_name(self, request):
        return refused(lambda: pb_utils.Tensor("", array(1)))[0][0]

    def dlpack_out(self, request):
        found = pb_utils.get_input_tensor_by_name(request, "FP32")
        return [list(found.__dlpack_device__()), np.from_dlpack(found).tolist()]

    def dlpack_in(self, request):
        source = pb_utils.get_input_tensor_by_name(request, "FP32")
        made = pb_utils.Tensor.from_dlpack("D", source.to_dlpack())
        return [made.name(), made.as_numpy().tolist()]

    def dlpack_text(self, request):
        found = pb_utils.get_input_tensor_by_name(request, "TEXT")
        return refused(found.to_dlpack)

    def dlpack_strided(self, request):
        return refused(lambda: pb_utils.Tensor.from_dlpack("D", np.arange(6, dtype="f4").reshape(2, 3).T))

    def request_facts(self, request):
        return [request.request_id(), request.correlation_id(), request.flags(), request.timeout(),
                sorted(json.loads(request.parameters()).items()), sorted(request.requested_output_names()),
                type(request.requested_output_names()).__name__, request.is_cancelled(),
                [found.name() for found in request.inputs()]]

    def request_flags(self, request):
        request.set_flags(3)
        return request.flags()

    def request_not_asked_for(self, request):
        return pb_utils.get_input_tensor_by_name(request, "NOPE") is None

    def request_of_ones_own(self, request):
        made = call("m", tensor(1), request_id="r", correlation_id=7, requested_output_names=["A", "B"],
                    model_version=3, flags=1, timeout=5, parameters={"a": 1, "b": "x", "c": True})
        return [made.request_id(), made.correlation_id(), made.flags(), made.timeout(),
                sorted(json.loads(made.parameters()).items()), sorted(made.requested_output_names())]

    def request_wrong_arguments(self, request):
        return [kind for kind, _ in refused(
            lambda: pb_utils.InferenceRequest(), lambda: pb_utils.InferenceRequest(inputs=[], model_name="m"),
            lambda: call("m", parameters={1: 2}), lambda: call("m", correlation_id=1.5))]

    def request_wrong_parameters(self, request):
        return refused(lambda: call("m", parameters={"a": 1.5}))

    def response_facts(self, request):
        plain = pb_utils.InferenceResponse([tensor(1, name="A"), tensor(2, name="A")])
        bad = pb_utils.InferenceResponse(error=pb_utils.TritonError("no"))
        return [plain.has_error(), plain.error() is None, [found.name() for found in plain.output_tensors()],
                bad.has_error(), bad.error().message(), int(bad.error().code()), len(bad.output_tensors())]

    def response_wrong_arguments(self, request):
        return [kind for kind, _ in refused(
            lambda: pb_utils.InferenceResponse([1]), lambda: pb_utils.InferenceResponse(error="no"),
            lambda: pb_utils.TritonError(3), lambda: pb_utils.TritonError("no", 3))]

    def error_codes(self, request):
        names = "UNKNOWN INTERNAL NOT_FOUND INVALID_ARG UNAVAILABLE UNSUPPORTED ALREADY_EXISTS CANCELLED".split()
        return [int(getattr(pb_utils.TritonError, name)) for name in names]

    def exception_is_one(self, request):
        error = pb_utils.TritonModelException("words")
        return [isinstance(error, Exception), str(error)]

    def names_of_types(self, request):
        names = "BOOL UINT8 UINT16 UINT32 UINT64 INT8 INT16 INT32 INT64 FP16 FP32 FP64 STRING".split()
        found = [np.dtype(pb_utils.triton_string_to_numpy("TYPE_" + name)).str for name in names]
        return [found, refused(lambda: pb_utils.triton_string_to_numpy("FP32"))]

    def numbers_of_types(self, request):
        return [[np.dtype(pb_utils.triton_to_numpy_type(number)).str for number in range(1, 14)],
                [pb_utils.numpy_to_triton_type(kind) for kind in (np.float32, np.bool_, np.int64, np.object_)]]

    def byte_tensors(self, request):
        packed = pb_utils.serialize_byte_tensor(np.array([b"ab", "\\u00e9", b""], np.object_))
        packed = packed.item() if isinstance(packed, np.ndarray) else packed
        back = pb_utils.deserialize_bytes_tensor(packed)
        return [packed.hex(), str(back.dtype), [value.hex() for value in back]]

    def configs(self, request):
        config = json.loads(ARGS["model_config"])
        return [pb_utils.get_input_config_by_name(config, "FP32")["dims"],
                pb_utils.get_output_config_by_name(config, "NOPE"), config["parameters"]["given"],
                pb_utils.using_decoupled_model_transaction_policy(config)]

    def places(self, request):
        home = ARGS["model_repository"]
        return [os.path.relpath(pb_utils.get_model_dir(), home), os.path.basename(home), sys.argv,
                [os.path.relpath(path, home) for path in sys.path if path.startswith(home)],
                os.path.relpath(__file__, home), TritonPythonModel.__module__,
                threading.current_thread() is threading.main_thread()]

    def arguments(self, request):
        return sorted((key, value) for key, value in ARGS.items() if key not in ("model_config", "model_repository"))

    def config_given(self, request):
        return json.loads(ARGS["model_config"])

    def bls(self, request):
        return shown(call("constant", asked(), requested_output_names=["VALUE"]).exec())

    def bls_all_outputs(self, request):
        return shown(call("constant", asked()).exec())

    def bls_as_a_stream(self, request):
        return [shown(response) for response in call("constant", asked()).exec(decoupled=True)]

    def bls_decoupled(self, request):
        responses = call("repeat", pb_utils.Tensor("IN", array(1, 2, 3, dtype="i4"))).exec(decoupled=True)
        return [[shown(response) for response in responses], len(list(responses))]

    def bls_decoupled_without_the_word(self, request):
        return shown(call("repeat", pb_utils.Tensor("IN", array(1, dtype="i4"))).exec())

    def bls_unknown_model(self, request):
        return shown(call("nope", asked()).exec())

    def bls_no_input(self, request):
        return shown(call("constant").exec())

    def bls_wrong_type(self, request):
        return shown(call("constant", pb_utils.Tensor("ASKED", array(1))).exec())

    def bls_unknown_output(self, request):
        return shown(call("constant", asked(), requested_output_names=["NOPE"]).exec())

    def bls_error_of_the_model(self, request):
        return shown(call("refusing", asked()).exec())

    def bls_exception_in_the_model(self, request):
        kind, text = shown(call("raising", asked()).exec())
        return [kind, text.splitlines()[0]]

    def bls_from_threads(self, request):
        said = []
        threads = [threading.Thread(target=lambda: said.append(self.bls(request))) for _ in range(4)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        return said

    def bls_no_loop(self, request):
        return refused(lambda: call("constant", asked()).async_exec())

    def sender_wrong_use(self, request):
        sender = request.get_response_sender()
        return refused(lambda: sender.send(), lambda: sender.send(flags=2), lambda: sender.send(3))[:2]

    def release_flags(self, request):
        return refused(lambda: request.set_release_flags(pb_utils.TRITONSERVER_REQUEST_RELEASE_ALL))

    def logger_wrong_use(self, request):
        return [kind for kind, _ in refused(
            lambda: pb_utils.Logger.log_info(3), lambda: pb_utils.Logger.log("x", 2),
            lambda: pb_utils.Logger.log("fine"), lambda: pb_utils.Logger.log("fine", pb_utils.Logger.ERROR))]

    def metrics(self, request):
        family = pb_utils.MetricFamily("probe_counter", "words", pb_utils.MetricFamily.COUNTER)
        metric = family.Metric(labels={"a": "b"})
        before = metric.value()
        metric.increment(2.5)
        same = family.Metric(labels={"a": "b"})
        measured = pb_utils.MetricFamily("probe_gauge", "words", pb_utils.MetricFamily.GAUGE)
        gauge = measured.Metric(labels={})
        gauge.set(5)
        gauge.increment(-2)
        return [metric.value() - before, same.value() == metric.value(), gauge.value()]

    def is_model_ready(self, request):
        return [pb_utils.is_model_ready("constant"), pb_utils.is_model_ready("constant", "1"),
                pb_utils.is_model_ready("constant", "7"), pb_utils.is_model_ready("nope")]

    def unload_and_load(self, request):
        pb_utils.unload_model("spare")
        gone = not pb_utils.is_model_ready("spare")
        pb_utils.load_model("spare")
        return [gone, pb_utils.is_model_ready("spare"), pb_utils.unload_model("nope") is None]

    def load_what_is_given(self, request):
        config = {"backend": "python", "input": [{"name": "ASKED", "data_type": "TYPE_BOOL", "dims": [1]}],
                  "output": [{"name": "VALUE", "data_type": "TYPE_INT32", "dims": [1]}]}
        with open(os.path.join(ARGS["model_repository"], "..", "constant", "1", "model.py"), "rb") as file:
            source = file.read().replace(b"5", b"6")
        pb_utils.load_model("spare", config=json.dumps(config), files={"file:1/model.py": source})
        said = shown(call("spare", asked()).exec())
        pb_utils.unload_model("spare")
        pb_utils.load_model("spare")
        return said

    def everything_public(self, request):
        return {name: True for name in dir(pb_utils) if not name.startswith("_")}


class TritonPythonModel:
    def initialize(self, args):
        ARGS.update(args)

    def execute(self, requests):
        return [self.one(request) for request in requests]

    def one(self, request):
        probe = pb_utils.get_input_tensor_by_name(request, "PROBE").as_numpy()[0].decode()
        try:
            said = getattr(Probes(), probe)(request)
        except BaseException as error:
            said = ["raised", type(error).__name__, str(error)]
        text = json.dumps(said)
        return pb_utils.InferenceResponse([pb_utils.Tensor("SAID", np.array([text], np.object_))])
'''
ASYNC = """
import asyncio, json
import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    async def execute(self, requests):
        def call():
            asked = pb_utils.Tensor("ASKED", np.array([True]))
            return pb_utils.InferenceRequest(
                model_name="constant", inputs=[asked], requested_output_names=["VALUE"]).async_exec()

        answers = await asyncio.gather(call(), call(), call())
        said = json.dumps([answer.output_tensors()[0].as_numpy().tolist() for answer in answers])
        return [pb_utils.InferenceResponse([pb_utils.Tensor("SAID", np.array([said], np.object_))]) for _ in requests]
"""
FAILING = """
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        {}
"""
SIMPLE = 'backend: "python"\ninput { name: "ASKED" data_type: TYPE_BOOL dims: [ 1 ] }\n'
PROBES = re.findall(r"^    def (\w+)\(self, request\):", SOURCE.partition("class TritonPythonModel")[0], re.MULTILINE)


def write_models(repository: Path) -> None:
    """The model that probes, and those that it calls."""
    write_model(repository, "probe", SOURCE, CONFIG)
    write_model(repository, "awaits", ASYNC, CONFIG)
    write_constant(repository, "constant", 5)
    write_constant(repository, "spare", 1)
    write_decoupled(repository, "repeat", REPEAT)
    output = 'output { name: "VALUE" data_type: TYPE_INT32 dims: [ 1 ] }\n'
    refuse = 'return [pb_utils.InferenceResponse(error=pb_utils.TritonError("not mine"))]'
    write_model(repository, "refusing", FAILING.format(refuse), SIMPLE + output)
    write_model(repository, "raising", FAILING.format('raise ValueError("a slip")'), SIMPLE + output)
