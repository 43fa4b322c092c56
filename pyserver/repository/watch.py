"""What has changed in the repositories since it was last acted on."""

from __future__ import annotations

from pyserver.repository.fingerprint import Fingerprint
from pyserver.repository.repository import ModelRepository

Looks = dict[str, Fingerprint]


class Watch:
    """Compares looks at a repository. All of it reads folders, and so may block, but for `changed` and `act`."""

    def __init__(self, repository: ModelRepository) -> None:
        self._repository = repository
        self._acted: Looks = {}

    def look(self) -> Looks:
        """Every model's fingerprint; ServerError if a repository can't be read."""
        return {name: folder.fingerprint() for name, folder in self._repository.scan().items()}

    def changed(self, looks: Looks) -> set[str]:
        """The models that are new, gone, or not what they were when they were last acted on."""
        return {name for name in {*looks, *self._acted} if looks.get(name) != self._acted.get(name)}

    def act(self, name: str, looks: Looks) -> None:
        """Something is being done about `name` as it is in `looks`: it is no news until it changes again."""
        if name in looks:
            self._acted[name] = looks[name]
        else:
            self._acted.pop(name, None)
