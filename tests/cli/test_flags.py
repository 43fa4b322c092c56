"""The command line: every flag of the table, in both spellings, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from pyserver.cli.flags import parse
from pyserver.cli.log import safe
from pyserver.settings import Settings, available_cpus, flags, memory_limit

REPOSITORY = ["--model-repository", "/models"]
CHECKED: dict[str, tuple[str, Any]] = {
    "cache_config": ("local,size=4096", ("local,size=4096",)),
    "response_cache_byte_size": ("4096", 4096),
    "http_restricted_api": ("health,metadata:k=v", ("health,metadata:k=v",)),
    "grpc_restricted_protocol": ("inference:k=v=w", ("inference:k=v=w",)),
}
"""What has to make sense to be taken."""


def test_defaults_are_the_tables() -> None:
    assert parse(REPOSITORY) == Settings(model_repository=("/models",))


@pytest.mark.parametrize(("name", "default", "about"), flags(), ids=[name for name, _, _ in flags()])
@pytest.mark.parametrize("joined", [True, False])
def test_every_flag_is_taken_in_both_spellings(name: str, default: Any, about: dict[str, Any], joined: bool) -> None:
    text, value = CHECKED.get(name) or sample(default, about)
    option = "--" + name.replace("_", "-")
    given = [f"{option}={text}"] if joined else [option, text]
    assert getattr(parse([*REPOSITORY, *given] if name != "model_repository" else given), name) == value


@pytest.mark.parametrize(
    "option",
    [
        "--http-restricted-api=nope:k=v", "--http-restricted-api=health", "--grpc-restricted-protocol=health:k=",
        "--http-header-forward-pattern=(", "--grpc-header-forward-pattern=[",
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(option: str) -> None:
    with pytest.raises(SystemExit):
        parse([*REPOSITORY, option])


@pytest.mark.parametrize("text", ["R", "R:x", ":3"])
def test_a_resource_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(SystemExit):
        parse([*REPOSITORY, "--rate-limit-resource", text])


def sample(default: Any, about: dict[str, Any]) -> tuple[str, Any]:
    if isinstance(default, bool):
        return ("false", False) if default else ("1", True)
    if isinstance(default, tuple):
        return "x:1", ("x:1",)
    if about["choices"]:
        return about["choices"][-1], about["choices"][-1]
    return ("word", "word") if isinstance(default, str) else ("7", type(default)(7))


def test_repeated_flags_add_up() -> None:
    found = parse(["--model-repository", "/a", "--model-store=/b", "--load-model", "x", "--load-model=y"])
    assert found.model_repository == ("/a", "/b")
    assert found.load_model == ("x", "y")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "no models to serve: give at least one --model-repository DIR"),
        ([*REPOSITORY, "--http-port", "eight"], "argument --http-port: invalid int value: 'eight'"),
        ([*REPOSITORY, "--exit-on-error=maybe"], "argument --exit-on-error: expected true or false, got 'maybe'"),
        ([*REPOSITORY, "--no-such-flag"], "unrecognized arguments: --no-such-flag"),
        ([*REPOSITORY, "--model-control-mode", "odd"], "invalid choice: 'odd'"),
    ],
)
def test_what_cannot_be_taken_is_named(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exited:
        parse(arguments)
    assert exited.value.code == 2
    assert said in capsys.readouterr().err


def test_version_imports_nothing_heavy() -> None:
    script = (
        "import sys; from pyserver.cli.main import main\n"
        "try: main(['--version'])\n"
        "finally: print(sorted(set(sys.modules) & {'numpy', 'tornado', 'grpc', 'google.protobuf', 'uvloop'}))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.split("\n")[1] == "[]"


def test_the_machine_has_cpus_and_memory() -> None:
    assert available_cpus() >= 1
    assert memory_limit() > 1 << 20


def test_a_log_line_cannot_be_forged() -> None:
    assert safe("a\x1b[31mb\rc\x00") == "a\\x1b[31mb\\x0dc\\x00"
