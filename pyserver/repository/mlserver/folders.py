"""The models of MLServer's folders: which there are, and what their versions are called."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from pyserver.errors import ServerError
from pyserver.repository import fingerprint
from pyserver.repository.fingerprint import Fingerprint
from pyserver.repository.folder import ModelFolder
from pyserver.repository.mlserver import custom, reading
from pyserver.repository.mlserver.fields import ModelSettings, ServerSettings
from pyserver.repository.mlserver.files import MODEL_SETTINGS, SETTINGS
from pyserver.repository.mlserver.variables import Variables

log = logging.getLogger(__name__)

_LONGEST_NUMBER = 18


@dataclass(frozen=True, slots=True)
class Member:
    """One version: the folder of its settings, their file (None where variables are all there is), what they say.

    `label` is what the settings call the version, "" where they don't; `workers` is how many instances a model has that
    doesn't say.
    """

    folder: Path
    source: Path | None
    label: str
    settings: ModelSettings = field(compare=False, repr=False)
    notes: tuple[str, ...] = field(default=(), compare=False, repr=False)
    workers: int = field(default=1, compare=False)


@dataclass(frozen=True, slots=True)
class MlserverFolder(ModelFolder):
    """A model of one or more `model-settings.json`; `path` is the folder of its default version."""

    members: tuple[tuple[int, Member], ...] = ()

    of_mlserver: ClassVar[bool] = True

    def versions(self) -> list[int]:
        """The numbers of its versions, ascending: the last is the default."""
        return [number for number, _ in self.members]

    def member(self, version: int) -> Member:
        """What is known of a version."""
        return dict(self.members)[version]

    def version_path(self, version: int) -> Path:
        """The folder of a version's settings."""
        return self.member(version).folder

    @property
    def labels(self) -> Mapping[str, int]:
        """What clients call the versions; one that has no name of its own is only asked for without one."""
        return {member.label: number for number, member in self.members}

    def fingerprint(self) -> Fingerprint:
        """What the folders of its versions look like, models within them aside, and the artefacts elsewhere."""
        return fingerprint.joined([look for _, member in self.members for look in _looks(member)])


def models(repository: Path, files: Sequence[Path], alone: bool) -> list[ModelFolder]:
    """The models of the `model-settings.json` in `files`; of variables if there are none and `alone` says that nothing
    else is there. One whose settings can't be read is there with the error.
    """
    given = Variables.of_process()
    try:
        server, _ = reading.server_settings(repository / SETTINGS, given)
    except ServerError as error:
        log.error("%s", error.message)
        server = ServerSettings()
    broken: list[ModelFolder] = []
    members: dict[str, list[Member]] = {}
    if custom.is_custom(server):
        members = _of_class(repository, server)
        files = ()
    for file in files:
        try:
            read = reading.model_settings(file, given)
        except ServerError as error:
            name = reading.named_in(file) or file.parent.resolve().name
            broken.append(ModelFolder(name, file.parent, repository, f"model '{name}': {error.message}"))
            continue
        name = read.settings.name or file.parent.resolve().name
        label = read.settings.parameters.version or ""
        member = Member(file.parent, file, label, read.settings, read.notes, server.parallel_workers)
        members.setdefault(name, []).append(member)
    if not files and not members and alone:
        members = _of_variables(repository, given, server)
    return [*broken, *(_model(name, repository, found) for name, found in members.items())]


def _of_class(repository: Path, server: ServerSettings) -> dict[str, list[Member]]:
    """The models that a repository class of the user's own lists; ServerError where it fails."""
    members: dict[str, list[Member]] = {}
    for document in custom.documents(repository, server):
        source = document.pop("_source", None)
        file = Path(repository, source) if source else None
        settings = reading.settings_of_document(document, source or str(server.model_repository_implementation))
        folder = repository if file is None else file.parent
        label = settings.parameters.version or ""
        member = Member(folder, file, label, settings, (), server.parallel_workers)
        members.setdefault(settings.name or folder.resolve().name, []).append(member)
    return members


def _of_variables(repository: Path, given: Variables, server: ServerSettings) -> dict[str, list[Member]]:
    """The model that variables describe; MLServer leaves it without a name where they have none, out of reach."""
    settings = reading.settings_of_variables(given)
    if settings is None:
        return {}
    label = settings.parameters.version or ""
    member = Member(repository, None, label, settings, (), server.parallel_workers)
    return {settings.name or repository.resolve().name: [member]}


def _model(name: str, repository: Path, found: Sequence[Member]) -> ModelFolder:
    twice = _twice(found)
    if twice is not None:
        first, second = twice
        version = f" version '{first.label}'" if first.label else " without a version"
        error = (
            f"model '{name}'{version} is there twice: {first.folder / MODEL_SETTINGS} and"
            f" {second.folder / MODEL_SETTINGS}; expected different 'parameters.version'"
        )
        return ModelFolder(name, first.folder, repository, error)
    numbers = numbered([member.label for member in found])
    members = tuple(sorted(((numbers[member.label], member) for member in found), key=lambda pair: pair[0]))
    return MlserverFolder(name, members[-1][1].folder, repository, "", members)


def _twice(found: Iterable[Member]) -> tuple[Member, Member] | None:
    seen: dict[str, Member] = {}
    for member in found:
        if member.label in seen:
            return seen[member.label], member
        seen[member.label] = member
    return None


def numbered(labels: Sequence[str]) -> dict[str, int]:
    """A number for each version, the greatest for the default one, as MLServer chooses it.

    Numbers stand for themselves. A version without a name comes after all others; of two names the greater number, or
    else the later text, comes after.
    """
    ordered = sorted(sorted(labels), key=functools.cmp_to_key(_compare))
    named = [label for label in ordered if label]
    if all(map(_is_number, named)):
        numbers = {label: int(label) for label in named}
        return {**numbers, "": max(numbers.values(), default=0) + 1} if "" in labels else numbers
    return {label: number for number, label in enumerate(ordered, 1)}


def _is_number(label: str) -> bool:
    """Whether a version is a number as it is written, and one that a URL can have."""
    return label.isascii() and label.isdigit() and label[0] != "0" and len(label) <= _LONGEST_NUMBER


def _compare(first: str, second: str) -> int:
    if not first or not second:
        return (not first) - (not second)
    if first.isdecimal() and second.isdecimal():
        return (int(first) > int(second)) - (int(first) < int(second))
    return (first > second) - (first < second)


def _looks(member: Member) -> Iterable[Fingerprint]:
    yield fingerprint.take(member.folder, without=MODEL_SETTINGS)
    parameters = member.settings.parameters
    for value in (parameters.uri, parameters.environment_tarball):
        path = Path(member.folder, value) if value and "://" not in value else None
        if path is not None and not path.resolve().is_relative_to(member.folder.resolve()):
            yield fingerprint.take(path) if path.is_dir() else fingerprint.of_file(path)
