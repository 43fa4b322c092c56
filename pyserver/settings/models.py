"""Flags about models: where they are, which are served, how they load."""

from __future__ import annotations

from dataclasses import dataclass

from pyserver.settings.flag import flag


@dataclass(frozen=True)
class ModelSettings:
    """Repositories and the life of models."""

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
