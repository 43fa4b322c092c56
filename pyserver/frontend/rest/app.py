"""The REST API as a Tornado `Application`: which path is whose."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from tornado.httputil import HTTPServerRequest
from tornado.routing import Matcher, Rule
from tornado.web import Application, RequestHandler

from pyserver.frontend.rest import (
    custom,
    docs,
    generate,
    infer_handler,
    models,
    observing,
    repository,
    shared_memory,
    v1,
)
from pyserver.frontend.rest.handler import Handler, NotFound
from pyserver.frontend.rest.limits import Limits
from pyserver.protocol import rest_path
from pyserver.protocol.cors import Cors
from pyserver.protocol.forwarding import Forwarding
from pyserver.protocol.restricted import Restrictions

if TYPE_CHECKING:
    from pyserver.controlplane.controlplane import ControlPlane
    from pyserver.dataplane import DataPlane

# In this order: `/v2/models/stats` is not the metadata of a model called "stats".
ROUTES: list[tuple[str, type[Handler]]] = [
    (rest_path.INFER, infer_handler.Infer),
    (rest_path.GENERATE, generate.Generate),
    (rest_path.GENERATE_STREAM, generate.GenerateStream),
    (rest_path.INFER_STREAM, generate.InferStream),
    (rest_path.LIVE, models.Live),
    (rest_path.READY, models.Ready),
    (rest_path.MODEL_READY, models.ModelReady),
    (rest_path.ALL_STATISTICS, models.Statistics),
    (rest_path.MODEL_STATISTICS, models.Statistics),
    (rest_path.MODEL_CONFIG, models.ModelConfig),
    (rest_path.MODEL, models.Model),
    (rest_path.SERVER, models.Server),
    (rest_path.DOCS, docs.Page),
    (rest_path.DOCS_DOCUMENT, docs.Document),
    (rest_path.DOCS_ASSET, docs.Asset),
    (rest_path.MODEL_DOCS, docs.Page),
    (rest_path.MODEL_DOCS_DOCUMENT, docs.Document),
    (rest_path.LOGGING, observing.Logging),
    (rest_path.TRACE_SETTING, observing.TraceSetting),
    (rest_path.MODEL_TRACE_SETTING, observing.TraceSetting),
    (rest_path.INDEX, repository.Index),
    (rest_path.LOAD, repository.Load),
    (rest_path.UNLOAD, repository.Unload),
    (rest_path.V1_PREDICT, v1.Predict),
    (rest_path.V1_EXPLAIN, v1.Explain),
    (rest_path.V1_MODEL, v1.Model),
    (rest_path.V1_MODELS, v1.Models),
    (rest_path.ROOT, v1.Alive),
    (rest_path.SYSTEM_STATUS, shared_memory.SystemStatus),
    (rest_path.SYSTEM_REGISTER, shared_memory.SystemRegister),
    (rest_path.SYSTEM_UNREGISTER, shared_memory.SystemUnregister),
    (rest_path.CUDA_STATUS, shared_memory.CudaStatus),
    (rest_path.CUDA_REGISTER, shared_memory.CudaRegister),
    (rest_path.CUDA_UNREGISTER, shared_memory.CudaUnregister),
]


class Exact(Matcher):
    """Matches the whole path, as it was sent: Tornado's own `PathMatches` would decode what it captures."""

    def __init__(self, pattern: str) -> None:
        self._pattern = re.compile(pattern)

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        """The named segments, for the handler's method; None where the path is another."""
        found = self._pattern.fullmatch(request.path)
        if found is None:
            return None
        named = found.groupdict()
        return {"path_kwargs": {key: text.encode("latin1") for key, text in named.items() if text is not None}}


class RestApplication(Application):
    """The routes, over the two planes, which clients see below `root_path`.

    `closing` turns true when the server takes its leave of its clients; `compresses` says whether those who accept it
    get compressed answers. `restrictions` are the APIs that need a header,
    `forwarding` says which headers models get.
    """

    def __init__(
        self,
        data_plane: DataPlane,
        control_plane: ControlPlane,
        limits: Limits,
        restrictions: Restrictions | None = None,
        forwarding: Forwarding | None = None,
        cors: Cors | None = None,
        root_path: str = "",
    ) -> None:
        self.cors = cors
        self.data_plane = data_plane
        self.control_plane = control_plane
        self.limits = limits
        self.root_path = root_path
        self.restrictions = restrictions or Restrictions({})
        self.forwarding = forwarding
        self.closing = False
        self.compresses = True
        rules = [Rule(Exact(pattern), handler) for pattern, handler in ROUTES]
        rules.append(Rule(custom.Matches(data_plane), custom.Custom))
        super().__init__(rules, default_handler_class=NotFound, log_function=no_line)


def no_line(handler: RequestHandler) -> None:
    """The lane writes the access log, of what the application answers as well."""
