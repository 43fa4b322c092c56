"""Every problem of a model's folder that shows without loading it, each with its file and line."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pyserver.errors import ServerError
from pyserver.proto.model_config import ModelConfig
from pyserver.repository import config as configs
from pyserver.repository import files, parameters, pbtxt, validate, versions
from pyserver.repository.backends import BUNDLED_BACKENDS
from pyserver.repository.folder import ModelFolder
from pyserver.repository.normalise import normalise

_PLACE = re.compile(r"\Afailed to read text proto from .*?:(\d+):(\d+): ", re.DOTALL)
_FIELD = re.compile(r'\w+\s*:\s*("[^"\n]*"|[^\s{}\[\],;]+)\s*[,;]?')
_QUOTED = re.compile(r"'([^'\n]+)'")
_WORD = re.compile(r"[a-z]+(?:_[a-z]+)+|\b(?:input|output|dims|backend|platform|count|gpus)\b")
_MOST = 100

_ADVICE = (
    ("must specify 'data_type'", "data_type: TYPE_FP32, or another of TYPE_BOOL ... TYPE_STRING"),
    ("must specify 'dims'", "dims: [ 3, 224, 224 ], with -1 where the size varies"),
    ("must specify 'name'", 'name: "INPUT"'),
    ("dimension must be integer", "sizes from 1, or -1 where the size varies; the batch dimension is not listed"),
    ("at least one version", "make a folder MODEL/1 with the model's file in it, or change version_policy"),
    ("model file not found", "put the model's file there, or name it with default_model_filename"),
    ("unable to find backend", 'backend: "python", or --backend-directory with a folder of that name'),
    ("unexpected directory name", "leave 'name' out of config.pbtxt: it is the folder's"),
    ("expected at least 1", "count: 1, or no count at all"),
    ("specifies one or more GPUs", "kind: KIND_GPU, or no gpus"),
    ("is there", "give each tensor a name of its own"),
    ("TritonPythonModel", "class TritonPythonModel, with a method execute(self, requests)"),
    ("more than one model repository", "rename one of the folders"),
)


class Finding(NamedTuple):
    """A problem; `line` is 0 where it belongs to no line, `advice` "" where the text says it all."""

    path: Path
    line: int
    text: str
    advice: str = ""

    def __str__(self) -> str:
        """`path:line: text`, and the advice below."""
        place = f"{self.path}:{self.line}" if self.line else str(self.path)
        return f"{place}: {self.text}" + (f"\n    try: {self.advice}" if self.advice else "")


def look_at(folder: ModelFolder, backends: Sequence[Path] = (), config_name: str = "") -> list[Finding]:
    """All that is wrong with a model; nothing is run. `backends` are folders of backends beside the bundled ones."""
    try:
        folder.check()
        if folder.of_mlserver:
            return _of_mlserver(folder)
        path = configs.path_of(folder, config_name)
    except ServerError as error:
        return [_finding(folder.path, error.message)]
    found: list[Finding] = []
    config, text = (ModelConfig(), "") if path is None else _parsed(path, found)
    if config is None:
        return found
    where = path or folder.path
    try:
        configs.named(folder, config)
    except ServerError as error:
        return [*found, _finding(where, error.message, text)]
    normalise(config, ())
    available = folder.versions()
    sources = list(_sources(config, folder, available))
    completes = any("auto_complete_config" in source for _, source in sources)
    problems = [*validate.problems(config, settings_only=completes), *_missing(config, folder, available, backends)]
    problems += parameters.problems(config, folder.path)
    found += [_finding(where, problem, text) for problem in problems]
    for file, source in sources:
        found += _compiled(file, source, config)
    return found


def _of_mlserver(folder: ModelFolder) -> list[Finding]:
    from pyserver.repository.mlserver.findings import look_at as look_at_mlserver

    return [Finding(*found) for found in look_at_mlserver(folder)]


def _parsed(path: Path, found: list[Finding]) -> tuple[Any, str]:
    """The configuration without the fields that are wrong, each of which is found; None if it can't be read at all."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        found.append(_finding(path, f"can't be read: {error}"))
        return None, ""
    left = text
    for _ in range(_MOST):
        try:
            return pbtxt.parse(left, path), text
        except ServerError as error:
            place = _PLACE.match(error.message)
            if place is None:
                found.append(_finding(path, error.message))
                return None, text
            row, column = int(place[1]), int(place[2])
            found.append(Finding(path, row, error.message[place.end() :].replace("\n ", "\n   ")))
            left, before = _without(left, row, column), left
            if left == before:
                return None, text
    return None, text


def _without(text: str, row: int, column: int) -> str:
    """`text` with blanks for the `field: value` that stands at a place; the same text if none does."""
    lines = text.split("\n")
    if row > len(lines):
        return text
    for match in _FIELD.finditer(lines[row - 1]):
        if match.start() <= column - 1 <= match.end():
            blanks = " " * (match.end() - match.start())
            lines[row - 1] = lines[row - 1][: match.start()] + blanks + lines[row - 1][match.end() :]
            break
    return "\n".join(lines)


def _missing(config: Any, folder: ModelFolder, available: list[int], backends: Sequence[Path]) -> Iterator[str]:
    try:
        files.check_files(config, folder, versions.select(config, available))
    except ServerError as error:
        yield from error.message.removeprefix(f"model '{config.name}': ").split("; ")
    if config.backend in ("", "python"):
        return
    known = [*backends, BUNDLED_BACKENDS]
    if not any((path / config.backend / "model.py").is_file() for path in known):
        yield f"unable to find backend '{config.backend}' (searched: {', '.join(map(str, known))})"


def _sources(config: Any, folder: ModelFolder, available: Iterable[int]) -> Iterator[tuple[Path, str]]:
    """The Python files of the versions that are served."""
    if config.backend != "python":
        return
    for version in available:
        path = folder.path / str(version) / config.default_model_filename
        try:
            yield path, path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue


def _compiled(path: Path, source: str, config: Any) -> Iterator[Finding]:
    """Whether it is Python with the class in it; a model with an interpreter of its own may speak another Python."""
    if any(name in config.parameters for name in parameters.OWN_INTERPRETER):
        return
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError) as error:
        yield Finding(path, getattr(error, "lineno", 0) or 0, f"{type(error).__name__}: {getattr(error, 'msg', error)}")
        return
    if "TritonPythonModel" not in source and not any(isinstance(node, ast.ImportFrom) for node in ast.walk(tree)):
        yield _finding(path, "there is no class TritonPythonModel")


def _finding(path: Path, text: str, source: str = "") -> Finding:
    advice = next((advice for part, advice in _ADVICE if part in text), "")
    return Finding(path, _line(text, source), text, advice)


def _line(problem: str, source: str) -> int:
    """The line that has most of what the problem names; 0 if none has any of it."""
    names, words = set(_QUOTED.findall(problem)), set(_WORD.findall(problem))
    best, line = 0, 0
    for number, text in enumerate(source.splitlines(), 1):
        quoted = sum(3 for name in names if f'"{name}"' in text or f"'{name}'" in text)
        score = quoted + sum(1 for word in words | names if re.search(rf"\b{re.escape(word)}\b\s*[:{{\[]", text))
        if score > best:
            best, line = score, number
    return line
