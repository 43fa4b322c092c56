"""How many requests the front ends of one of MLServer's folders have answered, and how long that took, by kind."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping

from pyserver.protocol import mlserver_traffic
from pyserver.protocol.mlserver_calls import Calls
from pyserver.protocol.mlserver_traffic import BUCKETS, Key, Traffic

_MOST_PATHS = 4096


class Answered:
    """Counts for the metrics: by protocol, method, route and status. Paths of health and metrics count for nothing.

    `calls` counts what begins in gRPC; `in_progress` gives REST's requests that are not answered yet, by method.
    """

    def __init__(self) -> None:
        self.traffic: Traffic = {}
        self.calls: dict[str, Calls] = {}
        self.in_progress: Callable[[], Mapping[str, int]] = dict
        self._routes: dict[str, str] = {}

    def note(self, protocol: str, method: str, path: str, status: int, seconds: float) -> None:
        """One more answer."""
        route = self._routes.get(path)
        if route is None:
            if len(self._routes) >= _MOST_PATHS:
                self._routes.clear()
            route = self._routes[path] = mlserver_traffic.route(protocol, path)
        if not route:
            return
        key: Key = (protocol, method, route, status)
        counts = self.traffic.get(key)
        if counts is None:
            counts = self.traffic[key] = [0.0] * (len(BUCKETS) + 2)
        counts[bisect_left(BUCKETS, seconds)] += 1
        counts[-1] += seconds

    def of_call(self, path: str) -> Calls:
        """The counts of an RPC."""
        calls = self.calls.get(path)
        if calls is None:
            calls = self.calls[path] = Calls()
        return calls
