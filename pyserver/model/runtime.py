"""Which interpreter a model runs under, with which environment variables: the server's, or its environment's."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyserver.environment import source, variables
from pyserver.environment.source import Source
from pyserver.errors import ServerError
from pyserver.repository.folder import ModelFolder
from pyserver.repository.parameters import INTERPRETER_PARAMETER, check_interpreter, text_of
from pyserver.settings import Settings

if TYPE_CHECKING:
    from pyserver.environment.environments import Environments
    from pyserver.environment.interpreter import Facts

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Runtime:
    """An interpreter, all the variables of a process of it, and what is known of it (None: the server's own)."""

    interpreter: str
    variables: Mapping[str, str]
    facts: Facts | None = None


class Runtimes:
    """Finds the runtimes of models; their environments are prepared when they are first asked for."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._prepared: Environments | None = None

    async def of(self, folder: ModelFolder, config: Any, report: Callable[[str], None]) -> Runtime:
        """The runtime that `config`, or what lies beside it, asks for; ServerError if it can't be had.

        `report` hears how far the preparation of an environment is.
        """
        wanted = self._wanted(folder, config)
        if wanted is None:
            return _plain(folder, text_of(config, INTERPRETER_PARAMETER))
        try:
            found = await self._environments().get(wanted, lambda progress: report(f"{wanted}: {progress}"))
        except ServerError as error:
            raise ServerError(error.code, f"model '{folder.name}': {error.message}") from error
        return Runtime(found.interpreter, found.variables, found.facts)

    def _environments(self) -> Environments:
        """Imported with the first model that has one: unpacking and building take much that most servers never do."""
        if self._prepared is None:
            from pyserver.environment.cache import default_folder
            from pyserver.environment.environments import Environments

            named = self._settings.environment_cache
            folder = Path(named).absolute() if named else default_folder()
            self._prepared = Environments(folder, self._settings.load_limit)
        return self._prepared

    def _wanted(self, folder: ModelFolder, config: Any) -> Source | None:
        if value := text_of(config, source.PARAMETER):
            return source.named(folder.name, folder.path, value)
        listed = source.beside(folder.path)
        if listed is None or text_of(config, INTERPRETER_PARAMETER):
            return None
        if not self._settings.build_environments and folder.of_mlserver:
            return None  # MLServer's folders list what their image installs
        if not self._settings.build_environments:
            log.warning(
                "model '%s': nothing is installed from its %s: --build-environments=true allows it",
                folder.name, listed.path.name,
            )  # fmt: skip
            return None
        return listed


def explained(error: ServerError, runtime: Runtime) -> None:
    """Add to the failure of a load what it was run by, where that is not the server's own interpreter."""
    if runtime.facts is not None and str(runtime.facts) not in error.message:
        error.message = f"{error.message}\n  run by {runtime.facts}"
        error.args = (error.message,)


def _plain(folder: ModelFolder, named: str) -> Runtime:
    """The server's own interpreter, or one of which only the path is known."""
    if not named:
        return Runtime(sys.executable, os.environ)
    check_interpreter(folder.name, named)
    return Runtime(named, variables.of_interpreter(Path(named), os.environ))
