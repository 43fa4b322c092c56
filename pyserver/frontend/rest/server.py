"""The REST front end: bound, started, and ended in order."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from pyserver.core import json
from pyserver.errors import ServerError
from pyserver.frontend import tls
from pyserver.frontend.access import AccessLog
from pyserver.frontend.answered import Answered
from pyserver.frontend.descriptors import room_for
from pyserver.frontend.rest.app import RestApplication
from pyserver.frontend.rest.lane.head import Head
from pyserver.frontend.rest.lane.server import LaneServer
from pyserver.frontend.rest.limits import Limits
from pyserver.protocol import restricted
from pyserver.protocol.cors import parse
from pyserver.protocol.forwarding import forwarding
from pyserver.protocol.restricted import INFERENCE, Restrictions
from pyserver.settings import Settings

if TYPE_CHECKING:
    from pyserver.controlplane.controlplane import ControlPlane
    from pyserver.dataplane import DataPlane

log = logging.getLogger(__name__)


class RestServer:
    """HTTP on `--http-address` and `--http-port`: inferences by the lane, all else by the Tornado application."""

    title = "HTTPService"

    def __init__(
        self,
        data_plane: DataPlane,
        control_plane: ControlPlane,
        settings: Settings,
        answered: Answered | None = None,
    ) -> None:
        self.address = settings.http_address
        self._access = AccessLog(settings.access_log, data_plane.log, answered)
        data_plane.log.listeners.append(lambda log: self._log_answers())
        limits = limits_of(settings)
        cors = parse(settings.http_cors)
        limits = replace(limits, max_connections=room_for(limits.max_connections))
        restrictions = restricted.parse_http(settings.http_restricted_api)
        forwards = forwarding(settings.http_header_forward_pattern)
        root_path = settings.mlserver["root_path"] if settings.mlserver is not None else ""
        self._app = RestApplication(data_plane, control_plane, limits, restrictions, forwards, cors, root_path)
        self._app.compresses = settings.http_compression
        diverts: list[Callable[[Head], bool]] = (
            [partial(_refused, restrictions)] if restrictions.restricts(INFERENCE) else []
        )
        diverts += [_from_a_browser] if cors is not None else []
        self._lane = LaneServer(
            self._app, data_plane, self.address, settings.http_port, limits, reuse_port=settings.reuse_http_port,
            divert=partial(_any, diverts) if diverts else None, forwarding=forwards,
            tls=tls.http_files(settings), compresses=settings.http_compression,
        )  # fmt: skip
        self._log_answers()

    def _log_answers(self) -> None:
        """Have the lane tell the access log of its answers, or not."""
        self._lane.access_log = self._line if self._access.on else None

    def _line(
        self, client: str, method: str, target: str, status: int, size: int, seconds: float, request: str
    ) -> None:
        self._access.line(client, "http", method, target.partition("?")[0], status, size, seconds, request)

    @property
    def port(self) -> int:
        """The port that is listened to."""
        return self._lane.port

    async def start(self) -> None:
        """Listen; from then on `port` is the real one. ServerError where it can't be had."""
        await self._lane.start()

    def stop_accepting(self) -> None:
        """No new connection; those that are open are told with their next answer that it is the last."""
        self._app.closing = True
        self._lane.stop_accepting()

    async def drain(self, timeout: float) -> None:
        """Answer what was accepted, for `timeout` seconds at most, then close everything."""
        late = await self._lane.drain(timeout)
        if late:
            log.warning("%d HTTP connections were still busy after %.1f seconds, and are cut off", late, timeout)


def _from_a_browser(head: Head) -> bool:
    """Whether a page asks: the application knows what it may."""
    return any(name.lower() == b"origin" for name, _ in head.fields)


def _any(diverts: Sequence[Callable[[Head], bool]], head: Head) -> bool:
    return any(divert(head) for divert in diverts)


def _refused(restrictions: Restrictions, head: Head) -> bool:
    """Whether an inference lacks its header, or has it twice: the application answers then."""

    def value(name: str) -> str | None:
        found = [value for given, value in head.texts() if given.lower() == name.lower()]
        return found[0] if len(found) == 1 else None

    try:
        restrictions.check(INFERENCE, value)
    except ServerError:
        return True
    return False


def limits_of(settings: Settings) -> Limits:
    """The limits that the operator has set."""
    return Limits(
        max_body_size=settings.http_max_body_size,
        max_input_size=settings.http_max_input_size,
        max_load_size=settings.max_load_size,
        max_json_depth=min(settings.http_max_json_depth, json.MAX_DEPTH),
        max_header_size=settings.http_max_header_size,
        max_headers=settings.http_max_headers,
        max_chunks=settings.http_max_chunks,
        max_connections=settings.http_max_connections,
        max_pipelined=settings.http_max_pipelined,
        idle_timeout=settings.http_idle_timeout_secs,
        header_timeout=settings.http_header_timeout_secs,
        body_timeout=settings.http_body_timeout_secs,
        stall_timeout=settings.http_read_timeout_secs,
    )
