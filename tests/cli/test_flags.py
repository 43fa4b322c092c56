"""The command line: every flag of the table, in both spellings, and what is refused."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import Any

import pytest

from pyserver import __version__
from pyserver.cli import foreign
from pyserver.cli.flags import parse
from pyserver.observe.formats import safe
from pyserver.settings import Settings, available_cpus, flags, memory_limit

REPOSITORY = ["--model-repository", "/models"]
CHECKED: dict[str, tuple[str, Any]] = {
    "cache_config": ("local,size=4096", ("local,size=4096",)),
    "response_cache_byte_size": ("4096", 4096),
    "http_restricted_api": ("health,metadata:k=v", ("health,metadata:k=v",)),
    "grpc_restricted_protocol": ("inference:k=v=w", ("inference:k=v=w",)),
    "metrics_config": ("summary_latencies=true", ("summary_latencies=true",)),
    "trace_config": ("level=OFF", ("level=OFF",)),
    "trace_level": ("OFF", ("OFF",)),
}
"""What has to make sense to be taken."""


TRITONS = """
    --id --exit-timeout-secs --exit-on-error --log-verbose --log-info --log-warning --log-error --log-format --log-file
    --model-repository --model-store --strict-readiness --disable-auto-complete-config --strict-model-config
    --model-control-mode --repository-poll-secs --load-model --model-config-name --model-load-thread-count
    --model-load-retry-count --model-namespacing --enable-peer-access
    --allow-http --http-address --http-port --reuse-http-port --http-thread-count --http-max-input-size
    --allow-grpc --grpc-address --grpc-port --reuse-grpc-port --grpc-infer-thread-count
    --grpc-infer-allocation-pool-size --grpc-max-response-pool-size
    --allow-metrics --allow-gpu-metrics --allow-cpu-metrics --metrics-address --metrics-port --metrics-interval-ms
    --metrics-config --trace-config --trace-file --trace-level --trace-rate --trace-count --trace-log-frequency
    --backend-directory --backend-config --repoagent-directory --cache-config --cache-directory
    --response-cache-byte-size --rate-limit --rate-limit-resource --pinned-memory-pool-byte-size
    --cuda-memory-pool-byte-size --cuda-virtual-address-size --min-supported-compute-capability
    --buffer-manager-thread-count --host-policy --model-load-gpu-limit
    --http-restricted-api --http-header-forward-pattern --grpc-restricted-protocol --grpc-header-forward-pattern
    --grpc-infer-response-compression-level --allow-client-shm
    --allow-sagemaker --sagemaker-port --allow-vertex-ai
""".split()  # noqa: SIM905
UNMEANT = ("config", "strict_model_config")
"""The one reads a file, the other says something about another."""


def test_defaults_are_the_tables() -> None:
    assert parse(REPOSITORY) == Settings(model_repository=("/models",))


@pytest.mark.parametrize(("name", "default", "about"), flags(), ids=[name for name, _, _ in flags()])
@pytest.mark.parametrize("joined", [True, False])
def test_every_flag_is_taken_in_both_spellings(name: str, default: Any, about: dict[str, Any], joined: bool) -> None:
    if name in UNMEANT:
        pytest.skip("has a test of its own")
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
        ([*REPOSITORY, "--htp-port=1"], "unrecognized arguments: --htp-port=1; did you mean --http-port?"),
        ([*REPOSITORY, "--allow-sagemaker", "true"], "--allow-sagemaker: SageMaker's protocol is not spoken here"),
        ([*REPOSITORY, "--model-namespacing"], "--model-namespacing: models of different repositories may not"),
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


def test_the_old_name_of_strictness() -> None:
    assert parse([*REPOSITORY, "--strict-model-config", "true"]).disable_auto_complete_config


@pytest.mark.parametrize("name", TRITONS)
def test_every_flag_of_tritonserver_is_known(name: str) -> None:
    known = {f"--{field.replace('_', '-')}" for field, _, _ in flags()} | set(foreign.FLAGS) | {"--model-store"}
    assert name in known


def test_a_flag_that_means_nothing_here_is_taken_with_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    for given in (["--http-thread-count", "3"], ["--pinned-memory-pool-byte-size=1"], ["--allow-vertex-ai=false"]):
        assert parse([*REPOSITORY, *given]) == parse(REPOSITORY)
        said = capsys.readouterr().err.splitlines()
        assert len(said) == 1
        assert said[0].startswith(f"pyserver: {given[0].partition('=')[0]} has no effect: ")


def test_help_is_a_line_a_flag(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exited:
        parse(["--help"])
    assert exited.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 100
    for name, _, _ in flags():
        assert len([line for line in lines if line.split()[:1] == [f"--{name.replace('_', '-')}"]]) == 1


def test_the_version_comes_at_once() -> None:
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-m", "pyserver", "--version"], capture_output=True, text=True, timeout=30)
    assert done.stdout == f"pyserver {__version__}\n"
    assert time.monotonic() - began < 0.3 * (1 + os.getloadavg()[0])


def test_the_machine_has_cpus_and_memory() -> None:
    assert available_cpus() >= 1
    assert memory_limit() > 1 << 20


def test_a_log_line_cannot_be_forged() -> None:
    assert safe("a\x1b[31mb\rc\x00") == "a\\x1b[31mb\\rc\\x00"
