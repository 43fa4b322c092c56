"""What a model tells its Logger, in the server's log."""

from __future__ import annotations

import logging
from typing import Any

from pyserver.instance.console import MAX_LINE, MAX_MARK, escaped, label
from pyserver.instance.spec import InstanceSpec
from pyserver.ipc.messages import MessageError

log = logging.getLogger("pyserver.model")


def write(said: dict[str, Any], spec: InstanceSpec) -> None:
    """Write a LOG message of the instance of `spec`, cut and escaped; MessageError if it is none."""
    level, message = said.get("level"), said.get("message")
    if not isinstance(level, int) or not isinstance(message, str):
        raise MessageError("a log record without level or message")
    requests = escaped(str(said.get("requests", ""))[:MAX_MARK])
    labels = {"model": spec.model_name, "version": str(spec.version), "instance": spec.name}
    where = escaped(f"{said.get('file', '')}:{said.get('line', 0)}")
    extra = {**labels, "requests": requests}
    log.log(level, "%s: %s: %s", label(labels, requests), where, escaped(message[:MAX_LINE]), extra=extra)
