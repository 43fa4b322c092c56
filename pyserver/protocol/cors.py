"""Cross-origin requests (the Fetch standard's CORS protocol): which headers let a browser read an answer. No I/O."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from pyserver.errors import invalid

Headers = list[tuple[str, str]]
_ALWAYS = ("Accept", "Accept-Language", "Content-Language", "Content-Type")
"""Headers that need no leave."""
_LISTS = ("allow_origins", "allow_methods", "allow_headers", "expose_headers")
_METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")


@dataclass(frozen=True, slots=True)
class Cors:
    """Who may ask from a browser, by MLServer's names (`cors_settings`); "*" in a list is for all."""

    allow_origins: tuple[str, ...] = ()
    allow_origin_regex: str | None = None
    allow_credentials: bool = False
    allow_methods: tuple[str, ...] = ("GET",)
    allow_headers: tuple[str, ...] = ()
    expose_headers: tuple[str, ...] = ()
    max_age: int = 600

    def allows(self, origin: str) -> bool:
        """Whether pages of `origin` may read answers."""
        if "*" in self.allow_origins or origin in self.allow_origins:
            return True
        return self.allow_origin_regex is not None and re.fullmatch(self.allow_origin_regex, origin) is not None

    def headers(self, origin: str) -> Headers:
        """The headers of an answer to `origin`; none where it may not read it."""
        if not self.allows(origin):
            return []
        made = self._origin(origin)
        if self.expose_headers:
            made.append(("Access-Control-Expose-Headers", ", ".join(self.expose_headers)))
        return made

    def preflight(self, origin: str, method: str, headers: str) -> tuple[int, Headers, str]:
        """Status, headers and text that answer a browser's question whether it may ask by `method` with `headers`."""
        wrong = [] if self.allows(origin) else ["origin"]
        methods = _METHODS if "*" in self.allow_methods else self.allow_methods
        if method not in methods:
            wrong.append("method")
        known = {name.lower() for name in (*_ALWAYS, *self.allow_headers)}
        asked = [name.strip().lower() for name in headers.split(",") if name.strip()]
        if "*" not in self.allow_headers and not known.issuperset(asked):
            wrong.append("headers")
        made = self._origin(origin) if self.allows(origin) else []
        if wrong:
            return 400, made, "Disallowed CORS " + ", ".join(wrong)
        allowed = (
            headers if "*" in self.allow_headers and headers else ", ".join(sorted({*_ALWAYS, *self.allow_headers}))
        )
        made += [
            ("Access-Control-Allow-Methods", ", ".join(methods)),
            ("Access-Control-Max-Age", str(self.max_age)),
            ("Access-Control-Allow-Headers", allowed),
        ]
        return 200, made, "OK"

    def _origin(self, origin: str) -> Headers:
        """With credentials a browser wants its origin by name."""
        if "*" in self.allow_origins and not self.allow_credentials:
            return [("Access-Control-Allow-Origin", "*")]
        made = [("Access-Control-Allow-Origin", origin), ("Vary", "Origin")]
        return [*made, ("Access-Control-Allow-Credentials", "true")] if self.allow_credentials else made


def parse(text: str) -> Cors | None:
    """The rule in JSON, None for an empty text; ServerError (INVALID_ARG) for what is none."""
    if not text:
        return None
    try:
        given: Any = json.loads(text)
    except ValueError as error:
        raise invalid(f"http_cors is not JSON: {error}") from None
    if not isinstance(given, dict):
        raise invalid("http_cors is no JSON object")
    unknown = sorted(given.keys() - set(Cors.__slots__))
    if unknown:
        raise invalid(f"http_cors has the unknown keys {unknown}, expected {sorted(Cors.__slots__)}")
    for key in _LISTS:
        if key in given:
            if not isinstance(given[key], list) or not all(isinstance(item, str) for item in given[key]):
                raise invalid(f"http_cors: '{key}' is {given[key]!r}, expected an array of strings")
            given[key] = tuple(given[key])
    made = Cors(**given)
    try:
        re.compile(made.allow_origin_regex or "")
    except re.error as error:
        raise invalid(f"http_cors: 'allow_origin_regex' is no regular expression: {error}") from None
    return made
