"""How a tensor goes from one model of an ensemble to the next: copied once by the server, or read where it was written.

`python -m benchmarks.handover` plays the three processes: a producer writes into its memfd, the server tells a consumer
where the tensor is, and the consumer adds it up. Either the server copies it into the consumer's memfd first, or the
consumer has mapped the producer's, read only. Blocks are used again, as an arena does. It prints microseconds from the
server's hearing of the tensor to the consumer's answer, medians of rounds in turns.
"""

from __future__ import annotations

import mmap
import os
import socket
import statistics
import struct
import sys
import time

import numpy as np

SIZES = (4 << 10, 64 << 10, 1 << 20, 4 << 20, 16 << 20)
SPACE = 64 << 20
SECONDS = 0.4
ROUNDS = 5
WHERE = struct.Struct("<QQ")
WAYS = ("copied", "mapped")


def produce(sock: socket.socket, fd: int) -> None:
    """Write a tensor of each size that is asked for, and say so."""
    memory = np.frombuffer(mmap.mmap(fd, SPACE), np.float32)
    while asked := sock.recv(64):
        _, size = WHERE.unpack(asked)
        memory[: size // 4] = 1
        sock.send(asked)


def consume(sock: socket.socket, fds: tuple[int, int]) -> None:
    """Add up the tensor in the memory that is named, and say so."""
    memories = [np.frombuffer(mmap.mmap(fd, SPACE, prot=mmap.PROT_READ), np.float32) for fd in fds]
    while asked := sock.recv(64):
        which, size = WHERE.unpack(asked)
        assert memories[which][: size // 4].sum() == size // 4
        sock.send(asked)


def fork(work: object, *given: object) -> socket.socket:
    """Run `work` with one end of a socket in a child process; the other end."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if not os.fork():
        ours.close()
        work(theirs, *given)  # type: ignore[operator]
        os._exit(0)
    theirs.close()
    return ours


def measure(
    size: int, way: str, producer: socket.socket, consumer: socket.socket, source: memoryview, target: memoryview
) -> float:
    """Microseconds that one way takes, the median of as many as go into `SECONDS`."""
    took = []
    until = time.perf_counter() + SECONDS
    while time.perf_counter() < until:
        producer.send(WHERE.pack(0, size))
        producer.recv(64)
        began = time.perf_counter()
        if way == "copied":
            target[:size] = source[:size]
        consumer.send(WHERE.pack(1 if way == "copied" else 0, size))
        consumer.recv(64)
        took.append(time.perf_counter() - began)
    return statistics.median(took) * 1e6


def main() -> int:
    """The command."""
    fds = os.memfd_create("made"), os.memfd_create("own")
    for fd in fds:
        os.ftruncate(fd, SPACE)
    producer, consumer = fork(produce, fds[0]), fork(consume, fds)
    made, own = memoryview(mmap.mmap(fds[0], SPACE, prot=mmap.PROT_READ)), memoryview(mmap.mmap(fds[1], SPACE))
    for size in SIZES:
        found: dict[str, list[float]] = {way: [] for way in WAYS}
        for _ in range(ROUNDS):
            for way in WAYS:
                found[way].append(measure(size, way, producer, consumer, made, own))
        copied, mapped = (statistics.median(found[way]) for way in WAYS)
        print(f"{size >> 10:6} KiB: copied {copied:8.1f} us, mapped {mapped:8.1f} us, {copied / mapped:.2f} times")
    return 0


if __name__ == "__main__":
    sys.exit(main())
