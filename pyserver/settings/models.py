"""Flags about models: where they are, which are served, how they load."""

from __future__ import annotations

from dataclasses import dataclass

from pyserver.settings.flag import flag

GROUP = "repository"


@dataclass(frozen=True)
class ModelSettings:
    """Repositories and the life of models."""

    model_repository: tuple[str, ...] = flag(
        (), "folder of models to serve", GROUP, "DIR", more="may be given several times"
    )
    model_control_mode: str = flag(
        "none",
        "who says which models serve",
        GROUP,
        choices=("none", "poll", "explicit"),
        more="none: serve every model; poll: also follow changes; explicit: serve what --load-model and the API name",
    )
    repository_poll_secs: float = flag(15.0, "how often poll mode looks at the repositories", GROUP, "SECONDS")
    load_model: tuple[str, ...] = flag((), "model to load at start in explicit mode; * for all", GROUP, "NAME")
    model_config_name: str = flag("", "take configs/NAME.pbtxt where a model has it", GROUP, "NAME")
    disable_auto_complete_config: bool = flag(False, "don't ask models to complete their configuration", GROUP)
    strict_model_config: bool = flag(False, "deprecated: as --disable-auto-complete-config", GROUP)
    backend_directory: tuple[str, ...] = flag(
        (), "folder of backends written in Python", GROUP, "DIR", more="searched before the bundled ones"
    )
    environment_cache: str = flag(
        "",
        "folder for unpacked environments",
        GROUP,
        "DIR",
        more="shared by servers; by default in the user's cache",
    )
    build_environments: bool = flag(
        False,
        "install the requirements.txt beside a model",
        GROUP,
        more="or its environment.yml, into an environment of its own",
    )
    fork_stubs: bool = flag(
        True,
        "fork models' processes from one with numpy loaded",
        GROUP,
        more="they start at once and share its memory",
    )
    model_load_thread_count: int = flag(0, "models that start at once; 0 for one a core", GROUP, "N")
    model_load_retry_count: int = flag(0, "how often to try again a load that failed", GROUP, "N")
    model_load_timeout_secs: float = flag(
        300.0, "how long a load may show no sign of life; 0 for ever", GROUP, "SECONDS"
    )
    model_load_limit_secs: float = flag(0.0, "how long a load may take at all; 0 for ever", GROUP, "SECONDS")
    exit_on_error: bool = flag(True, "exit when a model asked for at start does not load", GROUP)
    strict_readiness: bool = flag(True, "ready only while every loaded model is", GROUP)
