"""The routes of the trace and logging extensions: what is traced and logged, shown and changed at run time."""

from __future__ import annotations

from pyserver.frontend.rest.handler import Handler
from pyserver.protocol import rest_control


class Logging(Handler):
    """The settings of the log."""

    kind = "logging"

    def get(self) -> None:
        """`/v2/logging`."""
        self.reply_json(self.data_plane.log.document())

    def post(self) -> None:
        """Change those that the body names."""
        self.reply_json(self.data_plane.log.update(rest_control.decode_settings(self.body)))


class TraceSetting(Handler):
    """The settings of traces, of all models or of one."""

    kind = "trace"

    def get(self, name: str = "") -> None:
        """`/v2[/models/{name}]/trace/setting`."""
        self.reply_json(self.data_plane.trace_setting(name))

    def post(self, name: str = "") -> None:
        """Change those that the body names; null makes one follow what all models have, or what the flags said."""
        self.reply_json(self.data_plane.trace_setting(name, rest_control.decode_settings(self.body)))
