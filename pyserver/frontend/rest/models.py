"""GET routes: health, metadata, configuration, statistics."""

from __future__ import annotations

import orjson

from pyserver.frontend.rest.handler import Handler
from pyserver.protocol import status
from pyserver.protocol.rest_path import parse_version


class Server(Handler):
    """The server's name, version and extensions."""

    kind = "metadata"

    def get(self) -> None:
        """`/v2`."""
        self.reply_json(self.data_plane.server_metadata())


class _Health(Handler):
    kind = "health"

    def reply_health(self, what: str, good: bool) -> None:
        self.reply(orjson.dumps({what: good}), status_code=status.OK if good else status.BAD_REQUEST)


class Live(_Health):
    """Whether the server runs. The status says it all; KServe's clients read the body, Triton's has none."""

    def get(self) -> None:
        """`/v2/health/live`."""
        self.reply_health("live", self.data_plane.live())


class Ready(_Health):
    """Whether the server, as its readiness is defined, is ready to infer."""

    def get(self) -> None:
        """`/v2/health/ready`."""
        self.reply_health("ready", self.data_plane.ready())


class Model(Handler):
    """A model's inputs, outputs and versions."""

    kind = "metadata"

    def get(self, name: str, version: str = "") -> None:
        """`/v2/models/{name}[/versions/{version}]`."""
        self.reply_json(self.data_plane.model_metadata(name, parse_version(version)))


class ModelReady(Handler):
    """Whether a model is ready; one that isn't known isn't."""

    kind = "health"

    async def get(self, name: str, version: str = "") -> None:
        """`/v2/models/{name}[/versions/{version}]/ready`."""
        version = parse_version(version)
        why = self.data_plane.why_unready(name, version)
        if not why and not await self.data_plane.probe(name, version):
            why = "its is_ready says so"
        if why:
            self.reply(status.error_body(f"Model version not ready: {why}"), status_code=status.BAD_REQUEST)
        else:
            self.reply()


class ModelConfig(Handler):
    """A model's whole configuration."""

    kind = "model-config"

    def get(self, name: str, version: str = "") -> None:
        """`/v2/models/{name}[/versions/{version}]/config`."""
        self.reply(self.data_plane.model_config_json(name, parse_version(version)).encode())


class Statistics(Handler):
    """What a model, or each one, has done."""

    kind = "statistics"

    def get(self, name: str = "", version: str = "") -> None:
        """`/v2/models/{name}[/versions/{version}]/stats` and `/v2/models/stats`."""
        self.reply_json({"model_stats": self.data_plane.statistics(name, parse_version(version))})
