"""Time-outs, without waiting for any."""

from __future__ import annotations

import pytest

from pyserver.frontend.rest.lane.watch import LINGER, STALL_BYTES, Phase, Watch, too_slow
from pyserver.frontend.rest.limits import Limits

LIMITS = Limits(idle_timeout=60, header_timeout=10, body_timeout=100, stall_timeout=30)


def test_each_phase_has_its_time() -> None:
    for phase, allowed, name in [
        (Phase.IDLE, 60, "idle_timeout"),
        (Phase.HEAD, 10, "header_timeout"),
        (Phase.LINGER, LINGER, "linger"),
    ]:
        watch = Watch()
        assert watch.look(1000, phase, 1, 0, LIMITS) is None
        assert watch.look(1000 + allowed, phase, 1, 0, LIMITS) is None
        assert watch.look(1000.1 + allowed, phase, 1, 0, LIMITS) == name


def test_work_takes_what_it_takes() -> None:
    watch = Watch()
    assert [watch.look(now, Phase.WORK, 1, 0, LIMITS) for now in (0, 1e6)] == [None, None]


def test_a_new_request_or_phase_begins_anew() -> None:
    watch = Watch()
    assert watch.look(0, Phase.HEAD, 1, 0, LIMITS) is None
    assert watch.look(9, Phase.HEAD, 2, 0, LIMITS) is None
    assert watch.look(18, Phase.HEAD, 2, 0, LIMITS) is None
    assert watch.look(19.5, Phase.IDLE, 2, 0, LIMITS) is None
    assert watch.look(79, Phase.IDLE, 2, 0, LIMITS) is None


def test_a_byte_now_and_then_is_no_progress() -> None:
    watch = Watch()
    looks = [watch.look(now, Phase.BODY, 1, now, LIMITS) for now in range(32)]
    assert looks[:31] == [None] * 31
    assert looks[31] == "stall_timeout"


def test_a_body_that_moves_has_the_body_timeout() -> None:
    watch = Watch()
    looks = [watch.look(now, Phase.BODY, 1, now // 20 * STALL_BYTES, LIMITS) for now in range(102)]
    assert looks[:101] == [None] * 101
    assert looks[101] == "body_timeout"


def test_a_reader_that_moves_may_be_slow() -> None:
    watch = Watch()
    for now in range(0, 1000, 10):
        assert watch.look(now, Phase.SEND, 1, -1_000_000 + now * STALL_BYTES // 10, LIMITS) is None
    stopped = watch.look(1031, Phase.SEND, 1, -1_000_000 + 990 * STALL_BYTES // 10, LIMITS)
    assert stopped == "stall_timeout"


def test_more_to_send_is_no_progress_but_taking_it_is() -> None:
    watch = Watch()
    assert watch.look(0, Phase.SEND, 1, -100, LIMITS) is None
    assert watch.look(20, Phase.SEND, 1, -100_000, LIMITS) is None
    assert watch.look(29, Phase.SEND, 1, -90_000, LIMITS) is None
    assert watch.look(50, Phase.SEND, 1, -90_000, LIMITS) is None
    assert watch.look(60, Phase.SEND, 1, -90_000, LIMITS) == "stall_timeout"


@pytest.mark.parametrize(
    ("timeout", "says"),
    [
        ("header_timeout", "request headers took too long: the limit is 10 s. Use --http-header-timeout-secs"),
        ("stall_timeout", "request body took too long: the limit is 30 s. Use --http-read-timeout-secs"),
        ("body_timeout", "request body took too long: the limit is 100 s. Use --http-body-timeout-secs"),
    ],
)
def test_the_answer_names_the_flag(timeout: str, says: str) -> None:
    assert says in too_slow(timeout, LIMITS).message
