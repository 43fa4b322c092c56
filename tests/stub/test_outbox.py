import threading

from pyserver.stub.outbox import Outbox


class Wire:
    """A channel that runs `during` in the middle of each flush."""

    def __init__(self) -> None:
        self.put_records: list[bytes] = []
        self.sent: list[list[bytes]] = []
        self.during = lambda: None

    def put(self, record: bytes) -> None:
        self.put_records.append(record)

    def flush(self) -> bool:
        during, self.during = self.during, lambda: None
        during()
        self.sent.append(self.put_records)
        self.put_records = []
        return True


def test_what_waits_leaves_together_and_in_order() -> None:
    wire = Wire()
    outbox = Outbox(wire)  # type: ignore[arg-type]
    outbox.flush()
    outbox.put(b"1")
    outbox.put(b"2")
    outbox.say(b"3")
    assert wire.sent == [[b"1", b"2", b"3"]]


def test_a_finalizer_in_the_middle_of_a_flush() -> None:
    wire = Wire()
    outbox = Outbox(wire)  # type: ignore[arg-type]
    wire.during = lambda: outbox.say(b"late")
    outbox.say(b"first")
    assert wire.sent == [[b"first"], [b"late"]]


def test_many_threads() -> None:
    wire = Wire()
    outbox = Outbox(wire)  # type: ignore[arg-type]
    threads = [threading.Thread(target=lambda: [outbox.say(b"x") for _ in range(500)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(map(len, wire.sent)) == 4000
    assert not wire.put_records
