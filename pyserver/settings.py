"""Everything an operator can set: one field a flag, spelled and defaulted as tritonserver does where it has the flag.

The command line, its help and (through `Settings`) every part of the server read this one table.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

MEBIBYTE = 1 << 20


def flag(default: Any, help: str, group: str, metavar: str = "", choices: Sequence[str] = ()) -> Any:
    """A field that is the flag `--its-name`; a tuple's flag may be given several times."""
    return field(default=default, metadata={"help": help, "group": group, "metavar": metavar, "choices": choices})


@dataclass(frozen=True, slots=True)
class Settings:
    """How one server runs. Sizes are bytes, times seconds, unless the name says otherwise."""

    model_repository: tuple[str, ...] = flag(
        (), "folder of models to serve; may be given several times", "repository", "DIR"
    )
    model_control_mode: str = flag(
        "none",
        "none: serve every model; poll: also follow changes; explicit: serve what --load-model and the API name",
        "repository",
        choices=("none", "poll", "explicit"),
    )
    repository_poll_secs: float = flag(15.0, "how often poll mode looks at the repositories", "repository", "SECONDS")
    load_model: tuple[str, ...] = flag((), "model to load at start in explicit mode; * for all", "repository", "NAME")
    model_config_name: str = flag("", "take configs/NAME.pbtxt where a model has it", "repository", "NAME")
    disable_auto_complete_config: bool = flag(False, "don't ask models to complete their configuration", "repository")
    backend_directory: tuple[str, ...] = flag(
        (), "folder of Python-based backends, searched before the bundled ones", "repository", "DIR"
    )
    environment_cache: str = flag(
        "", "folder for unpacked environments, shared by servers; by default in the user's cache", "repository", "DIR"
    )  # fmt: skip
    build_environments: bool = flag(
        False, "install the requirements.txt or environment.yml beside a model, into an environment of its own",
        "repository",
    )  # fmt: skip
    model_load_thread_count: int = flag(0, "models that start at once; 0 for one a core", "repository", "N")
    model_load_retry_count: int = flag(0, "how often to try again to load a model that failed", "repository", "N")
    model_load_timeout_secs: float = flag(
        300.0, "how long a model that loads may show no sign of life; 0 for ever", "repository", "SECONDS"
    )
    model_load_limit_secs: float = flag(
        0.0, "how long a model may take to load, with signs of life or without; 0 for ever", "repository", "SECONDS"
    )
    exit_on_error: bool = flag(True, "exit when a model asked for at start does not load", "repository")
    strict_readiness: bool = flag(True, "ready only while every loaded model is", "repository")

    id: str = flag("triton", "the server's name in its metadata", "server")
    exit_timeout_secs: float = flag(30.0, "how long accepted requests may take to finish at exit", "server", "SECONDS")
    drain_grace_secs: float = flag(0.0, "how long to go on accepting, not ready, after SIGTERM", "server", "SECONDS")

    allow_client_shm: str = flag(
        "auto", "auto: let clients register shared memory where only this host connects; or true, false", "server",
        choices=("auto", "true", "false"),
    )  # fmt: skip
    client_shm_prefix: str = flag(
        "", "let them register only objects of this user, or (given) only those that are called PREFIX...", "server",
        "PREFIX",
    )  # fmt: skip
    max_classification_size: int = flag(1_000_000, "results of classifying one output", "server", "N")

    allow_http: bool = flag(True, "serve REST", "http")
    http_address: str = flag("127.0.0.1", "address to bind; 0.0.0.0 for every interface", "http", "ADDRESS")
    http_port: int = flag(8000, "port; 0 for a free one", "http", "PORT")
    reuse_http_port: bool = flag(False, "share the port with other servers (SO_REUSEPORT)", "http")
    http_max_input_size: int = flag(
        64 * MEBIBYTE,
        "largest JSON text, and JSON tensor, of a request; binary tensors are not limited by it",
        "http",
        "BYTES",
    )
    http_max_body_size: int = flag(2048 * MEBIBYTE, "largest request body", "http", "BYTES")
    http_max_header_size: int = flag(64 * 1024, "largest request line with headers", "http", "BYTES")
    http_max_connections: int = flag(16384, "connections open at once", "http", "N")
    http_idle_timeout_secs: float = flag(3600.0, "how long a connection may rest between requests", "http", "SECONDS")
    http_read_timeout_secs: float = flag(
        30.0, "how long a request's headers, or a pause in its body, may last", "http", "SECONDS"
    )

    allow_grpc: bool = flag(True, "serve gRPC", "grpc")
    grpc_address: str = flag("127.0.0.1", "address to bind; 0.0.0.0 for every interface", "grpc", "ADDRESS")
    grpc_port: int = flag(8001, "port; 0 for a free one", "grpc", "PORT")
    reuse_grpc_port: bool = flag(False, "share the port with other servers (SO_REUSEPORT)", "grpc")
    grpc_engine: str = flag(
        "auto",
        "auto: native where pygrpc-native is installed and only this host connects; grpcio limits inflated gzip",
        "grpc",
        choices=("auto", "native", "grpcio"),
    )

    allow_metrics: bool = flag(True, "serve Prometheus metrics", "metrics")
    metrics_address: str = flag("", "address to bind; the HTTP one unless given", "metrics", "ADDRESS")
    metrics_port: int = flag(8002, "port; 0 for a free one", "metrics", "PORT")

    cache_config: tuple[str, ...] = flag(
        (),
        "keep answers of models with response_cache: local,size=BYTES, or redis,host=HOST,port=PORT[,user=,password=,"
        "db=,timeout_ms=,ttl=]; may be given several times",
        "cache",
        "CACHE,KEY=VALUE",
    )
    response_cache_byte_size: int = flag(0, "deprecated: as --cache-config local,size=BYTES", "cache", "BYTES")

    max_queue_requests: int = flag(10_000, "requests that may wait for one model", "limits", "N")
    max_queue_bytes: int = flag(4096 * MEBIBYTE, "bytes that may wait for one model", "limits", "BYTES")
    default_queue_timeout_secs: float = flag(
        0.0, "how long a request may wait where its model's queue policy doesn't say; 0 for ever", "limits", "SECONDS"
    )
    rate_limit: str = flag(
        "off", "execution_count: instances execute in turns, and while they hold the resources they name", "limits",
        choices=("off", "execution_count"),
    )  # fmt: skip
    rate_limit_resource: tuple[str, ...] = flag(
        (),
        "how much there is of a resource; as much as one instance needs unless given",
        "limits",
        "NAME:COUNT[:DEVICE]",
    )
    max_model_memory: int = flag(
        0, "shared memory for one model's tensors in each direction; 0 for half the memory limit", "limits", "BYTES"
    )

    log_verbose: int = flag(0, "0 for none; 1 and above for more", "logging", "LEVEL")
    log_info: bool = flag(True, "log at level info", "logging")
    log_warning: bool = flag(True, "log at level warning", "logging")
    log_error: bool = flag(True, "log at level error", "logging")
    log_file: str = flag("", "log here instead of to stderr", "logging", "FILE")

    @property
    def repositories(self) -> list[Path]:
        """The model repositories, as absolute paths."""
        return [Path(path).resolve() for path in self.model_repository]

    @property
    def load_limit(self) -> int:
        """How many models may start at once."""
        return self.model_load_thread_count or available_cpus()

    @property
    def model_memory(self) -> int:
        """Bytes of shared memory that one model's requests, or one instance's responses, may hold."""
        return self.max_model_memory or memory_limit() // 2


def flags() -> list[tuple[str, Any, dict[str, Any]]]:
    """Every flag: its field's name, default and metadata, in the order of the table."""
    return [(entry.name, entry.default, dict(entry.metadata)) for entry in fields(Settings)]


def available_cpus() -> int:
    """CPUs this process may use: its affinity, and the quota of its cgroup."""
    count = len(os.sched_getaffinity(0))
    quota = _first_words("/sys/fs/cgroup/cpu.max")
    if len(quota) == 2 and quota[0] != "max":
        count = min(count, max(1, int(quota[0]) // int(quota[1])))
    return count


def memory_limit() -> int:
    """Bytes this process and its children may use: the machine's, or its cgroup's."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = _first_words("/sys/fs/cgroup/memory.max")
    return min(total, int(limit[0])) if limit and limit[0] != "max" else total


def _first_words(path: str) -> list[str]:
    try:
        return Path(path).read_text().split()
    except OSError:
        return []
