"""The data plane's documents, and the pages that show them and send their requests; nothing comes from elsewhere."""

from __future__ import annotations

import asyncio
import functools
import html
import json
from pathlib import Path

from pyserver.errors import not_found, unsupported
from pyserver.frontend.rest.handler import Handler
from pyserver.protocol.openapi import document
from pyserver.protocol.openapi.document import Described
from pyserver.protocol.rest_path import parse_version

PACKAGE = "swagger-ui-bundle"
TYPES = {
    "swagger-ui.css": "text/css; charset=utf-8",
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "favicon-32x32.png": "image/png",
    "start.js": "text/javascript; charset=utf-8",
}
POLICY = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'"
START = b"""window.onload = () => SwaggerUIBundle({
  url: location.pathname.replace(/[/]+$/, "") + "/dataplane.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis],
});
"""
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title}</title>
<link rel="stylesheet" href="{assets}/swagger-ui.css">
<link rel="icon" type="image/png" href="{assets}/favicon-32x32.png">
</head>
<body>
<div id="swagger-ui"></div>
<script src="{assets}/swagger-ui-bundle.js"></script>
<script src="{assets}/start.js"></script>
</body>
</html>
"""


class Docs(Handler):
    """What both kinds of documentation have in common."""

    kind = "metadata"

    def described(self, name: str, version: str) -> Described:
        """A model; ServerError where it is not served."""
        metadata = self.data_plane.model_metadata(name, version)
        config = json.loads(self.data_plane.model_config_json(name, version))
        return Described(name, metadata, config, *self.data_plane.handlers(name, version))

    def all_described(self) -> list[Described]:
        """Every model that serves, by its default version."""
        names = dict.fromkeys(name for name, _, _ in self.data_plane.models())
        return [self.described(name, "") for name in sorted(names)]


class Document(Docs):
    """The OpenAPI document of the server, of a model or of a version."""

    def get(self, name: str = "", version: str = "") -> None:
        """`/v2[/models/{name}[/versions/{version}]]/docs/dataplane.json`."""
        root = self.rest.root_path
        if name:
            version = parse_version(version)
            self.reply_json(document.of_model(self.described(name, version), version, root))
        else:
            self.reply_json(document.of_server(self.all_described(), root))


class Page(Docs):
    """The page that shows a document."""

    def get(self, name: str = "", version: str = "") -> None:
        """`/v2[/models/{name}[/versions/{version}]]/docs`."""
        title = "API Docs"
        if name:
            version = parse_version(version)
            self.data_plane.check(name, version)
            title += f" - {name}" + (f" ({version})" if version else "")
        assets()
        up = "../" * (self.request.path.strip("/").count("/") - 1)  # relative: a proxy may serve us below a prefix
        self.set_header("Content-Security-Policy", POLICY)
        page = PAGE.format(title=html.escape(title), assets=f"{up}docs/assets")
        self.reply(page.encode(), "text/html; charset=utf-8")


class Asset(Handler):
    """A file of the page."""

    kind = "metadata"

    async def get(self, file: str) -> None:
        """`/v2/docs/assets/{file}`."""
        if file not in TYPES:
            raise not_found(f"there is no '{file[:64]}'")
        content = START if file == "start.js" else await asyncio.to_thread(asset, file)
        self.set_header("Cache-Control", "max-age=3600")
        self.reply(content, TYPES[file])


def assets() -> Path:
    """The folder of the page's files; ServerError (UNSUPPORTED) where their package is not installed."""
    try:
        import swagger_ui_bundle
    except ImportError:
        raise unsupported(f"the page needs the package {PACKAGE}; its document, dataplane.json, does not") from None
    return Path(str(swagger_ui_bundle.swagger_ui_path))


@functools.cache
def asset(file: str) -> bytes:
    """What is in one of the files, read once."""
    return (assets() / file).read_bytes()
