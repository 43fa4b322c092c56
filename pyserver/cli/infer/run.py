"""Many workers ask; what they are answered is put into the order of the lines."""

from __future__ import annotations

import logging
import queue
import random
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Protocol

from pyserver.cli.infer import batch, lines
from pyserver.cli.infer.lines import INFERENCE, PREPROCESSING, Line
from pyserver.cli.infer.options import Options
from pyserver.errors import ErrorCode, ServerError

log = logging.getLogger(__name__)

PAUSE = 1.0
"""Seconds before a request that failed is tried again."""

Group = tuple[int, list[Line]]
Piece = tuple[int, list[str]]


class Transport(Protocol):
    """What asks the server; a worker has one to itself."""

    def infer(self, document: dict[str, Any]) -> dict[str, Any]:
        """The answer; ServerError UNAVAILABLE where another try may help."""

    def close(self) -> None:
        """Let go of the connection."""


class Run:
    """Asks all lines; `failures` counts those that got no answer. `wait` pauses, in seconds."""

    def __init__(
        self, options: Options, connect: Callable[[Options], Transport], wait: Callable[[float], object] | None = None
    ) -> None:
        self._options = options
        self._connect = connect
        self._stopped = threading.Event()
        self._wait = wait or self._stopped.wait
        self.failures = 0

    def answers(self, given: Iterator[Line]) -> Iterator[tuple[int, list[str]]]:
        """What is to be written for each group of lines, as soon as it is there, with the group's number."""
        groups = enumerate(lines.grouped(given, self._options.batch_size))
        todo: queue.Queue[Group | None] = queue.Queue(2 * self._options.workers)
        done: queue.Queue[Piece | BaseException] = queue.Queue()
        workers = [
            threading.Thread(target=self._work, args=(todo, done), name=f"worker {number}", daemon=True)
            for number in range(self._options.workers)
        ]
        for worker in workers:
            worker.start()
        try:
            yield from self._exchange(groups, todo, done)
        finally:
            self._stopped.set()
            with suppress(queue.Empty):
                while True:
                    todo.get_nowait()
            for _ in workers:
                todo.put(None)
            for worker in workers:
                worker.join()

    def _exchange(
        self, groups: Iterator[Group], todo: queue.Queue[Group | None], done: queue.Queue[Piece | BaseException]
    ) -> Iterator[Piece]:
        """Keep the workers busy, and no more lines in memory than they need."""
        asked = 0
        more = True
        while more or asked:
            while more and asked < todo.maxsize:
                group = next(groups, None)
                if group is None:
                    more = False
                else:
                    todo.put(group)
                    asked += 1
            if asked:
                piece = done.get()
                asked -= 1
                if isinstance(piece, BaseException):
                    raise piece
                yield piece

    def _work(self, todo: queue.Queue[Group | None], done: queue.Queue[Piece | BaseException]) -> None:
        transport: Transport | None = None
        try:
            while (group := todo.get()) is not None:
                if self._stopped.is_set():
                    continue
                if transport is None:
                    transport = self._connect(self._options)
                done.put((group[0], self._ask_group(transport, group[1])))
                pause = self._options.batch_interval + random.uniform(0.0, self._options.batch_jitter)
                if pause > 0:
                    self._wait(pause)
        except BaseException as error:
            done.put(error)
        finally:
            if transport is not None:
                transport.close()

    def _ask_group(self, transport: Transport, group: Sequence[Line]) -> list[str]:
        """The line of each of the group, which goes as one request if it can."""
        good = [line for line in group if not line.error]
        made = {line.number: self._failed(line, PREPROCESSING, line.error) for line in group if line.error}
        if len(good) > 1 and batch.may_merge(good):
            made |= self._ask_together(transport, good)
        for line in good:
            if line.number not in made:
                made[line.number] = self._ask_alone(transport, line)
        return [made[line.number] for line in group]

    def _ask_together(self, transport: Transport, group: Sequence[Line]) -> dict[int, str]:
        """The lines of a merged request; none where it failed for what one of them may be to blame for."""
        inference_id = str(uuid.uuid4())
        try:
            answer = self._ask(transport, {**batch.merged(group), "id": inference_id})
            pieces = batch.split(group, answer)
        except (ServerError, ValueError) as error:
            log.info("lines %d to %d together: %s; each alone", group[0].number, group[-1].number, error)
            return {}
        return {line.number: lines.answer(line, piece, inference_id) for line, piece in zip(group, pieces, strict=True)}

    def _ask_alone(self, transport: Transport, line: Line) -> str:
        try:
            answer = self._ask(transport, {**line.document, "id": line.id})
        except ServerError as error:
            return self._failed(line, INFERENCE, error.message)
        return lines.answer(line, answer, line.id)

    def _ask(self, transport: Transport, document: dict[str, Any]) -> dict[str, Any]:
        """Ask, and ask again where that may help."""
        for left in range(max(0, self._options.retries), -1, -1):
            try:
                answer = transport.infer(document)
            except ServerError as error:
                if error.code is not ErrorCode.UNAVAILABLE or not left or self._stopped.is_set():
                    raise
                log.warning("request %s: %s; %d more tries", document["id"], error.message, left)
                self._wait(PAUSE)
            else:
                log.debug("request %s is answered", document["id"])
                return answer
        raise AssertionError("the last try returns or raises")

    def _failed(self, line: Line, status: str, message: str) -> str:
        self.failures += 1
        return lines.failure(line, status, message)
