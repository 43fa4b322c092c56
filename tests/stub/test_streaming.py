"""Decoupled models in a stub: any number of answers, in order, from anywhere; and requests that come again."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from pyserver.ipc import messages
from pyserver.ipc.messages import EMPTY, FINAL, RESCHEDULED
from pyserver.stub.response import ErrorCode
from tests.stub.conftest import Start
from tests.stub.driver import Answer, Driver
from tests.stub.models import body

DECOUPLED = {"model_transaction_policy": {"decoupled": True}}
X = np.array([1], np.int32)
FLOOD = """
import threading
def flood(sender):
    for number in range(200):
        sender.send(pb_utils.InferenceResponse([pb_utils.Tensor('OUT', np.array([number]))]))
    sender.send(flags=1)
    print('done', flush=True)
threading.Thread(target=flood, args=(requests[0].get_response_sender(),)).start()
"""


def decoupled(start: Start, source: str, keyword: str = "def") -> Driver:
    return start().ready(body(source, keyword), DECOUPLED)


def begin(driver: Driver, **how: Any) -> None:
    driver.send(driver.payload([driver.request({"IN": X}, **how)]))


def executed(driver: Driver) -> None:
    driver.next(messages.EXECUTED)


def test_answers_then_the_bare_end(start: Start) -> None:
    driver = decoupled(
        start,
        """
        sender = requests[0].get_response_sender()
        for number in (3, 4):
            sender.send(pb_utils.InferenceResponse([pb_utils.Tensor('OUT', np.array([number]))]))
        sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
        """,
    )
    begin(driver)
    answers = [driver.answer() for _ in range(3)]
    assert [answer.flags for answer in answers] == [0, 0, FINAL | EMPTY]
    assert [answer.outputs["OUT"].tolist() for answer in answers[:2]] == [[3], [4]]
    executed(driver)
    assert driver.finalize() == {}


def test_a_dropped_sender_is_an_error(start: Start) -> None:
    driver = decoupled(start, "pass")
    begin(driver)
    executed(driver)
    answer = driver.answer()
    assert (answer.flags, answer.code) == (FINAL, ErrorCode.INTERNAL)
    assert "dropped the request's response sender" in answer.message


def test_what_execute_returns_must_be_none(start: Start) -> None:
    driver = decoupled(start, "return []")
    begin(driver)
    answer = driver.answer()
    assert "is using the decoupled mode and the execute function must return None" in answer.message


def test_an_error_of_a_stream_is_not_its_end(start: Start) -> None:
    driver = decoupled(
        start,
        """
        sender = requests[0].get_response_sender()
        sender.send(pb_utils.InferenceResponse(error=pb_utils.TritonError('no', pb_utils.TritonError.NOT_FOUND)))
        sender.send(pb_utils.InferenceResponse([]), 1)
        for send in (lambda: sender.send(flags=1), lambda: sender.send(), lambda: sender.send(flags=2)):
            try:
                send()
            except pb_utils.TritonModelException as error:
                print(error, flush=True)
        """,
    )
    begin(driver)
    first, last = driver.answer(), driver.answer()
    assert (first.code, first.flags, first.message) == (ErrorCode.NOT_FOUND, 0, "no")
    assert (last.code, last.flags) == (messages.OK, FINAL)


def test_a_coroutine_that_raises_answers(start: Start) -> None:
    source = """
    sender = requests[0].get_response_sender()
    sender.send(pb_utils.InferenceResponse([]))
    raise ValueError('late')
    """
    driver = decoupled(start, source, "async def")
    begin(driver)
    heard: list[Answer] = []
    while len(heard) < 2:
        record = driver.next(messages.RESPONSE, messages.EXECUTED)
        if record[0] == messages.RESPONSE:
            driver.waiting.insert(0, record)
            heard.append(driver.answer())
    assert [answer.flags for answer in heard] == [0, FINAL]
    assert "ValueError: late" in heard[1].message


def test_a_sender_waits_for_a_slow_reader(start: Start) -> None:
    driver = decoupled(start, FLOOD)
    begin(driver, slot=5)
    answers: list[Answer] = []

    def hear(count: int) -> None:
        while len(answers) < count:
            record = driver.next(messages.RESPONSE, messages.EXECUTED)
            if record[0] == messages.RESPONSE:
                driver.waiting.insert(0, record)
                answers.append(driver.answer())

    hear(64)
    time.sleep(0.05)  # it must not send a 65th, however long we wait
    assert not driver.waiting
    driver.taken[5] = 10
    hear(74)
    for count in (138, 201):
        driver.taken[5] = len(answers)
        hear(count)
    assert [int(answer.outputs["OUT"][0]) for answer in answers[:200]] == list(range(200))
    assert answers[200].flags == FINAL | EMPTY


def test_who_is_cancelled_waits_no_longer(start: Start) -> None:
    driver = decoupled(start, FLOOD)
    begin(driver, slot=5)
    for _ in range(64):
        record = driver.next(messages.RESPONSE, messages.EXECUTED)
        assert record
    driver.cancelled[5] = 1
    while True:
        record = driver.next(messages.RESPONSE, messages.EXECUTED)
        if record[0] == messages.RESPONSE and record[3] & FINAL:
            break
    assert driver.finalize() == {}


def test_a_request_that_is_to_come_again(start: Start) -> None:
    source = """
    requests[0].set_release_flags(pb_utils.TRITONSERVER_REQUEST_RELEASE_RESCHEDULE)
    return [None, pb_utils.InferenceResponse([])]
    """
    driver = start().ready(body(source))
    again, answered = driver.execute(driver.request({"IN": X}), driver.request({"IN": X}))
    assert again.flags == FINAL | RESCHEDULED
    assert answered.flags == FINAL
