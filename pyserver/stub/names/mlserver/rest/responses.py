"""`Response`, what a custom handler may return beside values."""

from __future__ import annotations

from typing import Any, Dict, Optional

from mlserver.codecs.json import encode_to_json_bytes


class Response:
    """An HTTP answer whose content is JSON."""

    media_type = "application/json"

    def __init__(self, content: Any = None, status_code: int = 200, headers: Optional[Dict[str, str]] = None) -> None:
        self.status_code = status_code
        self.headers = dict(headers or {})
        self.body = self.render(content)

    def render(self, content: Any) -> bytes:
        """The bytes of the body."""
        return encode_to_json_bytes(content.model_dump() if hasattr(content, "model_dump") else content)
