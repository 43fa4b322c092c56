from pyserver.stub.pacing import HOLD_NS, QUICK_NS, Pacing

QUICK = 10_000


def trusted() -> Pacing:
    pacing = Pacing()
    while not pacing.may_wait(QUICK, 1):
        pass
    pacing.sent()
    return pacing


def test_a_new_model_is_not_trusted() -> None:
    pacing = Pacing()
    answers = [pacing.may_wait(QUICK, 1) for _ in range(100)]
    assert answers[:10] == [False] * 10
    assert answers[-1]


def test_one_slow_execute_is_remembered() -> None:
    pacing = trusted()
    assert pacing.may_wait(QUICK, 1)
    assert not pacing.may_wait(10 * QUICK_NS, 1)
    assert not pacing.may_wait(QUICK, 1)


def test_nothing_waits_for_long() -> None:
    pacing = trusted()
    assert pacing.may_wait(QUICK, 1_000_000)
    assert pacing.may_wait(QUICK, 1_000_000 + HOLD_NS - 1)
    assert not pacing.may_wait(QUICK, 1_000_000 + HOLD_NS)
    assert pacing.may_wait(QUICK, 1_000_000 + HOLD_NS + 1)
    pacing.sent()
    assert pacing.may_wait(QUICK, 1_000_000 + 3 * HOLD_NS)
