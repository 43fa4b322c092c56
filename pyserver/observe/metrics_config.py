"""Which families of metrics there are: what --metrics-config says."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pyserver.errors import ServerError, invalid

QUANTILES = ((0.5, 0.05), (0.9, 0.01), (0.95, 0.001), (0.99, 0.001), (0.999, 0.001))
SWITCHES = ("counter_latencies", "summary_latencies", "histogram_latencies")
WORDS = {"true": True, "1": True, "false": False, "0": False}


@dataclass(frozen=True, slots=True)
class MetricsConfig:
    """`summary_quantiles` are quantiles with the error that they may have."""

    counter_latencies: bool = True
    summary_latencies: bool = False
    histogram_latencies: bool = False
    summary_quantiles: tuple[tuple[float, float], ...] = QUANTILES


def parse(entries: Iterable[str]) -> MetricsConfig:
    """ServerError (INVALID_ARG) for what is no setting, or no value of one."""
    switches: dict[str, bool] = {}
    quantiles: tuple[tuple[float, float], ...] = QUANTILES
    for entry in entries:
        key, _, value = entry.partition("=")
        if key in SWITCHES and value.lower() in WORDS:
            switches[key] = WORDS[value.lower()]
        elif key == "summary_quantiles":
            quantiles = tuple(_quantile(entry, pair) for pair in value.split(","))
        else:
            raise invalid(
                f"--metrics-config '{entry}', expected one of {', '.join(SWITCHES)} with =true or =false, "
                "or summary_quantiles=QUANTILE:ERROR,..."
            )
    return MetricsConfig(summary_quantiles=quantiles, **switches)


def _quantile(entry: str, pair: str) -> tuple[float, float]:
    quantile, _, error = pair.partition(":")
    try:
        found = float(quantile), float(error)
    except ValueError:
        raise _wrong(entry, pair) from None
    if not (0 <= found[0] <= 1 and 0 <= found[1] <= 1):
        raise _wrong(entry, pair)
    return found


def _wrong(entry: str, pair: str) -> ServerError:
    return invalid(f"--metrics-config '{entry}': '{pair}' is no QUANTILE:ERROR, two numbers from 0 to 1")
