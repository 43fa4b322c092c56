"""POST routes of repository control: index, load, unload."""

from __future__ import annotations

import asyncio

from pyserver.errors import unsupported
from pyserver.frontend.rest import limits
from pyserver.frontend.rest.handler import Handler
from pyserver.protocol import rest_control, status

# Decoding less than this takes the event loop no longer than a hop to a thread and back would.
_SMALL = 64 * 1024


class _Control(Handler):
    def check_repository(self, repository: str) -> None:
        if repository:
            raise unsupported("'repository_name' specification is not supported")

    def check_size(self) -> None:
        if len(self.body) > self.rest.limits.max_input_size:
            raise limits.input_too_large(len(self.body), self.rest.limits)


class Index(_Control):
    """The models of the repositories and their states."""

    kind = "model-repository"

    def post(self, repository: str = "") -> None:
        """`/v2/repository[/{repository}]/index`; which repository is not looked at, as in Triton."""
        self.check_size()
        ready = rest_control.decode_index(self.body, self.rest.limits.max_json_depth)
        self.reply_json(status.index_told(self.control_plane.index(ready)))


class Load(_Control):
    """Load a model, or load it anew: answered when that is done."""

    kind = "model-repository"

    async def post(self, name: str, repository: str = "") -> None:
        """`/v2/repository/models/{name}/load`."""
        self.check_repository(repository)
        most, depth = self.rest.limits.max_load_size, self.rest.limits.max_json_depth
        if len(self.body) > _SMALL:
            parameters = await asyncio.to_thread(rest_control.decode_load, self.body, name, most, depth)
        else:
            parameters = rest_control.decode_load(self.body, name, most, depth)
        await self.control_plane.load(name, parameters)
        self.reply()


class Unload(_Control):
    """Unload a model: answered when the order is taken."""

    kind = "model-repository"

    async def post(self, name: str, repository: str = "") -> None:
        """`/v2/repository/models/{name}/unload`."""
        self.check_repository(repository)
        self.check_size()
        await self.control_plane.unload(name, rest_control.decode_unload(self.body, self.rest.limits.max_json_depth))
        self.reply()
