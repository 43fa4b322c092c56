"""What may come back from execute, and what the client hears: spec 4.3, 4.5 to 4.8, and rows 54 to 62 of 1.13."""

import time

import numpy as np
import pytest

from pyserver.ipc import messages
from pyserver.stub.response import ErrorCode
from tests.stub.conftest import Start
from tests.stub.driver import Raw
from tests.stub.models import IDENTITY, body

X = np.arange(4, dtype="f4")
NOT_A_RESPONSE = "Expected an 'InferenceResponse' object in the execute function return list, found type"
FAILED = "Failed to process the request(s) for model 'm_0_0', message: "


def path_of(driver) -> str:
    return str(driver.folder / "1" / "model.py")


def test_an_exception_fails_every_request_of_its_payload(start: Start) -> None:
    driver = start().ready(
        """
        def helper():
            raise ValueError("boom")

        class TritonPythonModel:
            def execute(self, requests):
                helper()
        """
    )
    first, second = driver.execute(driver.request({"A": X}), driver.request({"A": X}))
    path = path_of(driver)
    expected = f"{FAILED}ValueError: boom\n\nAt:\n  {path}(3): helper\n  {path}(7): execute\n"
    assert (first.code, first.message) == (ErrorCode.INTERNAL, expected)
    assert (second.code, second.message) == (ErrorCode.INTERNAL, expected)
    assert first.extras["traceback"].startswith("Traceback (most recent call last):\n")
    assert "    helper()\n" in first.extras["traceback"]
    assert "pyserver" not in first.extras["traceback"]
    assert "traceback" not in second.extras
    assert driver.infer({"A": X}).message == expected


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("raise SystemExit(3)", "SystemExit: 3\n\nAt:\n"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt: <EMPTY MESSAGE>\n\nAt:\n"),
        ("raise pb_utils.TritonModelException('mine')", "TritonModelException: mine\n\nAt:\n"),
        ("pb_utils.Tensor('OUT', np.zeros(2, complex))", "TritonModelException: NumPy dtype is not supported."),
        ("return (1, 2)", "Expected a list in the execute return, found type '<class 'tuple'>'."),
        ("return None", "Expected a list in the execute return, found type '<class 'NoneType'>'."),
        ("return iter([])", "Expected a list in the execute return, found type '<class 'list_iterator'>'."),
        ("return ['x']", f"{NOT_A_RESPONSE} '<class 'str'>'."),
        ("return [None]", f"{NOT_A_RESPONSE} '<class 'NoneType'>'."),
        ("return []", "Number of InferenceResponse objects do not match the number of InferenceRequest objects. "
                      "InferenceRequest(s) size is:1, and InferenceResponse(s) size is:0"),
        ("requests[0].set_release_flags(3)", "TritonModelException: Unsupported request release flags 3"),
    ],
)  # fmt: skip
def test_what_execute_may_not_do(start: Start, source: str, message: str) -> None:
    driver = start().ready(body(source))
    for _ in range(2):
        answer = driver.infer({"A": X})
        assert answer.code == ErrorCode.INTERNAL
        assert answer.message.startswith(FAILED + message)
        assert answer.outputs == {}
    assert driver.finalize() == {}


def test_endless_recursion_is_told_in_few_lines(start: Start) -> None:
    driver = start().ready(body("return self.execute(requests)"))
    message = driver.infer({"A": X}).message
    assert "RecursionError: maximum recursion depth exceeded" in message
    assert " more\n" in message
    assert message.count("execute\n") == 40


def test_no_execute(start: Start) -> None:
    driver = start().ready("class TritonPythonModel:\n    pass\n")
    expected = f"{FAILED}Python model {path_of(driver)} does not implement `execute` method."
    assert driver.infer({"A": X}).message == expected


def test_errors_that_the_model_gives(start: Start) -> None:
    driver = start().ready(
        body(
            """
            codes = ["UNKNOWN", "INTERNAL", "NOT_FOUND", "INVALID_ARG", "UNAVAILABLE", "UNSUPPORTED", "ALREADY_EXISTS",
                     "CANCELLED"]
            errors = [pb_utils.TritonError(code, getattr(pb_utils.TritonError, code)) for code in codes]
            ignored = [pb_utils.Tensor("OUT", np.zeros(1))]
            return [pb_utils.InferenceResponse(ignored, error) for error in errors]
            """
        )
    )
    answers = driver.execute(*[driver.request({"A": X}) for _ in ErrorCode])
    assert [(answer.code, answer.message) for answer in answers] == [(code, code.name) for code in ErrorCode]
    assert not any(answer.block for answer in answers)


def test_a_broken_output_fails_its_own_request_alone(start: Start) -> None:
    driver = start().ready(
        body(
            """
            class Angry:
                def __str__(self):
                    raise KeyError("angry")
            good = np.array(["fine", [1, 2], 3.5], object)
            bad = np.array([Angry()], object)
            return [pb_utils.InferenceResponse([pb_utils.Tensor("OUT", array)]) for array in (good, bad, good)]
            """
        )
    )
    answers = driver.execute(*[driver.request({"A": X}) for _ in range(3)])
    assert [answer.code for answer in answers] == [messages.OK, ErrorCode.INTERNAL, messages.OK]
    assert answers[0].outputs["OUT"].tolist() == [b"fine", b"[1, 2]", b"3.5"]
    assert answers[1].message == "Failed to send the outputs: KeyError: 'angry'"


def test_outputs_that_nobody_wants_are_dropped(start: Start) -> None:
    source = body(
        """
        outputs = [pb_utils.Tensor(name, np.zeros(1)) for name in ("A", "B", "C", "A")]
        names = pb_utils.Tensor("NAMES", np.array([",".join(sorted(requests[0].requested_output_names()))]))
        return [pb_utils.InferenceResponse([*outputs, names])]
        """
    )
    driver = start().ready(source, {"output": [{"name": name} for name in ("A", "C", "NAMES")]})
    everything = driver.infer({"X": X})
    assert [name for name, _ in everything.raw] == ["A", "C", "A", "NAMES"]
    assert everything.outputs["NAMES"].tolist() == [b"A,C,NAMES"]
    assert [name for name, _ in driver.infer({"X": X}, "C").raw] == ["C"]
    assert driver.infer({"X": X}, "nothing").raw == []
    unsaid = start().ready(source)
    assert [name for name, _ in unsaid.infer({"X": X}).raw] == ["A", "B", "C", "A", "NAMES"]


def test_what_a_request_knows(start: Start) -> None:
    driver = start().ready(
        body(
            """
            r = requests[0]
            known = [r.request_id(), r.correlation_id(), r.flags(), r.timeout(), r.parameters(),
                     r.trace().get_context(), r.is_cancelled(), sorted(r.requested_output_names())]
            return [pb_utils.InferenceResponse([pb_utils.Tensor("OUT", np.array([repr(known)]))])]
            """
        )
    )
    assert driver.infer({}).outputs["OUT"].tolist() == [b"['', 0, 0, 0, '{}', None, False, []]"]
    extras = {"id": "é", "correlation_id": "s", "flags": 3, "timeout_us": 9, "parameters": {"a": 1, "b": True}}
    answer = driver.infer({}, "OUT", slot=5, extras=extras)
    expected = "['é', 's', 3, 9, '{\"a\":1,\"b\":true}', None, False, ['OUT']]"
    assert answer.outputs["OUT"].tolist() == [expected.encode()]


def test_who_is_cancelled_before_execute_is_not_executed(start: Start) -> None:
    driver = start().ready(
        body(
            "return [pb_utils.InferenceResponse([pb_utils.Tensor('OUT', np.array([len(requests)]))]) for r in requests]"
        )
    )
    driver.cancelled[5] = 1
    answer = driver.infer({}, "OUT", slot=5)
    assert answer.code == 7
    assert answer.flags == messages.FINAL | messages.DROPPED
    driver.cancelled[5] = 0
    assert driver.infer({}, "OUT", slot=5).outputs["OUT"].tolist() == [1]


def test_an_error_of_the_whole_payload_says_so(start: Start) -> None:
    driver = start().ready(body("raise ValueError('all of it')"))
    assert driver.infer({}).flags == messages.FINAL | messages.RAISED


def test_response_parameters(start: Start) -> None:
    driver = start().ready(body("return [pb_utils.InferenceResponse([], parameters={'a': 1, 'b': 'x', 'c': True})]"))
    answer = driver.infer({"A": X})
    assert (answer.code, answer.extras) == (messages.OK, {"parameters": {"a": 1, "b": "x", "c": True}})


def test_an_input_handed_on_untouched(start: Start) -> None:
    driver = start().ready(body("return [pb_utils.InferenceResponse(requests[0].inputs())]"))
    words, halves = np.array([b"a", b"bc"], object), Raw("BF16", (1, 2), b"abcd")
    answer = driver.infer({"W": words, "X": X, "H": halves})
    assert answer.outputs["W"].tolist() == [b"a", b"bc"]
    assert answer.outputs["X"].tolist() == X.tolist()
    assert answer.outputs["H"] == halves


def test_async_execute_runs_to_its_end(start: Start) -> None:
    driver = start().ready(
        body(
            """
            import asyncio
            await asyncio.sleep(0.001)
            if requests[0].inputs()[0].shape() == [0]:
                raise ValueError("empty")
            return [pb_utils.InferenceResponse([pb_utils.Tensor("OUT", np.zeros(1))])]
            """,
            "async def",
        )
    )
    assert list(driver.infer({"A": X}).outputs) == ["OUT"]
    assert "ValueError: empty" in driver.infer({"A": X[:0]}).message
    assert list(driver.infer({"A": X}).outputs) == ["OUT"]


def test_a_sender_answers_instead_of_the_return(start: Start) -> None:
    driver = start().ready(
        body(
            """
            sender = requests[0].get_response_sender()
            sender.send(pb_utils.InferenceResponse([pb_utils.Tensor("OUT", np.zeros(1))]))
            refused = []
            for arguments in ({"flags": 7}, {}, {"response": pb_utils.InferenceResponse()}, {"flags": 1}, {"flags": 1}):
                try:
                    sender.send(**arguments)
                except pb_utils.TritonModelException as error:
                    refused.append(str(error))
            print(refused)
            if requests[0].inputs():
                return [None]
            """
        )
    )
    for inputs in ({}, {"A": X}):
        answer = driver.infer(inputs)
        assert (answer.code, answer.flags, list(answer.outputs)) == (messages.OK, messages.FINAL, ["OUT"])
    driver.finalize()
    assert driver.process.stdout is not None
    assert driver.process.stdout.read().decode().splitlines()[0] == str(
        [
            "Unable to send response. Unsupported flag provided.",
            "Unable to send response. Inference Response object must be provided when the response flags is set to "
            "zero.",
            "Unable to send response. Non-decoupled model cannot send more than one response.",
            "Unable to send response. Response sender has been closed.",
        ]
    )


def test_a_thread_may_answer_later(start: Start) -> None:
    driver = start().ready(
        body(
            """
            import threading
            gate = threading.Event()
            def answer(senders):
                gate.wait()
                for sender in senders:
                    sender.send(pb_utils.InferenceResponse([pb_utils.Tensor("OUT", np.zeros(1))]), flags=1)
            threading.Thread(target=answer, args=[[request.get_response_sender() for request in requests]]).start()
            threading.Timer(0.05, gate.set).start()
            """
        )
    )
    driver.send(driver.payload([driver.request({"A": X}), driver.request({"A": X})]))
    assert driver.next(messages.EXECUTED)[1] == 1
    assert [driver.answer().key, driver.answer().key] == [1, 2]


def test_no_client_waits_for_a_sender_that_nobody_uses(start: Start) -> None:
    driver = start().ready(body("requests[0].get_response_sender()"))
    driver.send(driver.payload([driver.request({})]))
    driver.next(messages.EXECUTED)
    answer = driver.answer()
    assert answer.code == ErrorCode.INTERNAL
    assert answer.message == "the model dropped the request's response sender without sending its final response"


def test_an_exception_answers_for_the_senders_too(start: Start) -> None:
    driver = start().ready(
        body(
            """
            self.kept = [request.get_response_sender() for request in requests]
            self.kept[0].send(pb_utils.InferenceResponse([]))
            1 / 0
            """
        )
    )
    first, second = driver.execute(driver.request({}), driver.request({}))
    assert first.code == messages.OK
    assert "ZeroDivisionError" in second.message


def test_closing_before_answering_is_refused(start: Start) -> None:
    driver = start().ready(body("requests[0].get_response_sender().send(flags=1)"))
    expected = "TritonModelException: Unable to send response. Non-decoupled model cannot send complete final before"
    assert expected in driver.infer({}).message


def test_payloads_are_numbered_before_they_run(start: Start) -> None:
    driver = start().ready(IDENTITY)
    for _ in range(3):
        driver.infer({"A": X})
        assert driver.control is not None
        assert driver.control[0] == driver.payloads


def test_timings(start: Start) -> None:
    driver = start().ready(body("time.sleep(0.02)\nreturn [pb_utils.InferenceResponse([])]"))
    before = time.monotonic_ns()
    driver.send(driver.payload([driver.request({"A": X})]))
    driver.answer()
    _, payload, started_ns, input_ns, infer_ns, output_ns = driver.next(messages.EXECUTED)
    after = time.monotonic_ns()
    assert payload == 1
    assert before < started_ns < started_ns + input_ns + infer_ns + output_ns < after
    assert infer_ns >= 20_000_000


def test_a_slow_payload_does_not_delay_the_answer_before_it(start: Start) -> None:
    driver = start().ready(
        body("if requests[0].inputs():\n    time.sleep(0.3)\nreturn [pb_utils.InferenceResponse([])]")
    )
    driver.send(*[driver.payload([driver.request(inputs)]) for inputs in ({}, {"A": X})])
    driver.answer()
    first = time.monotonic()
    driver.next(messages.EXECUTED)
    driver.answer()
    assert time.monotonic() - first > 0.2


@pytest.mark.parametrize(
    ("answer", "count", "kinds"),
    [
        ("pb_utils.InferenceResponse([])", 1, [messages.ANSWERED]),
        ("pb_utils.InferenceResponse([])", 2, [messages.RESPONSE, messages.RESPONSE, messages.EXECUTED]),
        ("pb_utils.InferenceResponse([], parameters={'a': 1})", 1, [messages.RESPONSE, messages.EXECUTED]),
        ("pb_utils.InferenceResponse([], pb_utils.TritonError('no'))", 1, [messages.RESPONSE, messages.EXECUTED]),
    ],
    ids=["ordinary", "a batch", "parameters", "an error"],
)
def test_one_record_where_it_says_all(start: Start, answer: str, count: int, kinds: list[int]) -> None:
    driver = start().ready(body(f"return [{answer} for _ in requests]"))
    before = len(driver.kinds)
    driver.execute(*[driver.request({"A": X}) for _ in range(count)])
    assert driver.kinds[before:] == kinds


@pytest.mark.parametrize(
    ("answer", "kinds"),
    [
        ("[pb_utils.Tensor('O', rows[0])]", [messages.ROWS, messages.EXECUTED]),
        ("[pb_utils.Tensor('O', rows[0].astype('O'))]", [messages.RESPONSE] * 3 + [messages.EXECUTED]),
        ("[pb_utils.Tensor('O', np.zeros(row))]", [messages.RESPONSE] * 3 + [messages.EXECUTED]),
        ("[pb_utils.Tensor('O', np.zeros(4096))]", [messages.RESPONSE] * 3 + [messages.EXECUTED]),
        (
            "[pb_utils.Tensor('O', rows[0]), pb_utils.Tensor('P', rows[0])]",
            [messages.RESPONSE] * 3 + [messages.EXECUTED],
        ),
        ("[pb_utils.Tensor('O', rows[0])][:row]", [messages.RESPONSE] * 3 + [messages.EXECUTED]),
    ],
    ids=["alike", "strings", "other shapes", "large", "two outputs", "without outputs"],
)
def test_answers_that_are_alike_are_said_at_once(start: Start, answer: str, kinds: list[int]) -> None:
    made = f"""rows = [request.inputs()[0].as_numpy() for request in requests]
return [pb_utils.InferenceResponse({answer}) for row, rows in enumerate([[each] for each in rows])]"""
    driver = start().ready(body(made))
    before = len(driver.kinds)
    answers = driver.execute(*[driver.request({"A": X + row}) for row in range(3)])
    assert driver.kinds[before:] == kinds
    if kinds[0] == messages.ROWS:
        assert [found.outputs["O"].tolist() for found in answers] == [(X + row).tolist() for row in range(3)]
    assert not any(found.message for found in answers)


def test_requests_with_gaps_between_their_keys_are_answered_one_by_one(start: Start) -> None:
    driver = start().ready(IDENTITY)
    requests = [driver.request({"A": X + row}, slot=row + 1) for row in range(3)]
    driver.cancelled[2] = 1
    before = len(driver.kinds)
    driver.send(driver.payload(requests))
    answers = [driver.answer() for _ in requests]
    driver.next(messages.EXECUTED)
    assert {found.key: found.code for found in answers} == {
        requests[0][0]: messages.OK,
        requests[1][0]: 7,
        requests[2][0]: messages.OK,
    }
    assert messages.ROWS not in driver.kinds[before:]


def test_many_payloads_in_one_message(start: Start) -> None:
    driver = start().ready(IDENTITY)
    for _ in range(4):
        driver.send(*[driver.payload([driver.request({"A": X})]) for _ in range(100)])
        for _ in range(100):
            assert driver.answer().outputs["OUT_A"].tolist() == X.tolist()
            driver.next(messages.EXECUTED)


def test_memory_comes_back_and_runs_out(start: Start) -> None:
    driver = start().ready(IDENTITY, response_bytes=8 << 20)
    big = np.zeros(3 << 20, "u1")
    held = []
    driver.send(*[driver.payload([driver.request({"A": big})]) for _ in range(3)])
    for _ in range(3):
        held.append(driver.held_answer())
        driver.next(messages.EXECUTED)
    assert [answer.code for answer in held] == [messages.OK, messages.OK, ErrorCode.UNAVAILABLE]
    assert held[2].message == "the outputs need 3145728 bytes, and the instance may hold 8388608 at a time"
    driver.send(messages.pack_free([held[0].block]))
    for _ in range(5):
        assert driver.infer({"A": big}).code == messages.OK


def test_memory_given_back_while_the_model_runs_is_found(start: Start) -> None:
    source = "time.sleep(0.2)\nreturn [pb_utils.InferenceResponse(requests[0].inputs())]"
    driver = start().ready(body(source), response_bytes=4 << 20)
    big = np.zeros(3 << 20, "u1")
    driver.send(driver.payload([driver.request({"A": big})]))
    first = driver.held_answer()
    driver.next(messages.EXECUTED)
    driver.send(driver.payload([driver.request({"A": big})]))
    driver.send(messages.pack_free([first.block]), driver.payload([driver.request({"A": big})]))
    second = driver.answer()
    driver.next(messages.EXECUTED)
    third = driver.answer()
    assert [first.code, second.code, third.code] == [messages.OK] * 3


def test_logger(start: Start) -> None:
    driver = start().ready(
        body(
            """
            Logger = pb_utils.Logger
            Logger.log("one")
            Logger.log("two", Logger.ERROR)
            Logger.log_info("three\\nlines\\nlong")
            Logger.log_warn("four")
            Logger.log_error("five")
            Logger.log_verbose("x" * 300000)
            for arguments in ((3,), ("x", 2)):
                try:
                    Logger.log(*arguments)
                except TypeError:
                    pass
                else:
                    return []
            return [pb_utils.InferenceResponse([])]
            """
        )
    )
    assert driver.infer({}).code == messages.OK
    assert [(log["level"], log["message"][:15], log["line"]) for log in driver.logs] == [
        (20, "one", 11),
        (40, "two", 12),
        (20, "three\nlines\nlon", 13),
        (30, "four", 14),
        (40, "five", 15),
        (10, "x" * 15, 16),
    ]
    assert len(driver.logs[5]["message"]) == 300000
    assert {log["file"] for log in driver.logs} == {path_of(driver)}


def test_a_segmentation_fault_leaves_its_stack(start: Start) -> None:
    driver = start().ready(body("import ctypes; ctypes.string_at(0)"))
    driver.send(driver.payload([driver.request({})]))
    with pytest.raises(EOFError, match=r"Fatal Python error: Segmentation fault[\s\S]*model\.py"):
        driver.answer()


def test_finalize_comes_after_everything_received(start: Start) -> None:
    driver = start().ready(IDENTITY + "    def finalize(self):\n        raise ValueError('late')\n")
    driver.send(*[driver.payload([driver.request({"A": X})]) for _ in range(3)])
    driver.send(messages.record(messages.FINALIZE, b""))
    for _ in range(3):
        assert driver.held_answer().code == messages.OK
        driver.next(messages.EXECUTED)
    said = driver.cold(messages.FINALIZED)
    assert said["error"].startswith("ValueError: late\n\nAt:\n")
    assert driver.process.wait(30) == 0
