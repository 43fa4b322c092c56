"""Schemathesis asks what the OpenAPI documents say may be asked, and what they say may not."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Serve
from tests.support.decoupled import REPEAT, write_decoupled
from tests.support.repositories import copy_model
from tools import proc
from tools.environments import environment
from tools.process import ServerProcess

pytestmark = [pytest.mark.heavy, pytest.mark.ours, pytest.mark.timeout(600)]

SCHEMATHESIS = "schemathesis==4.32.5"
EXAMPLES = 60
GROWTH = 24 << 20
"""Bytes that caches of what was seen before may take."""
UNSAID = "positive_data_acceptance"
"""No schema says that there are as many elements as a shape has: what it allows may be refused."""
STATUS = re.compile(r" (?:GET|POST|PUT|DELETE|PATCH|TRACE|HEAD|OPTIONS) \S+ (\d+) \d+ bytes")


@pytest.fixture(scope="module")
def described(make_server: Serve, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    repository = tmp_path_factory.mktemp("described")
    for name in ("add_sub", "identity", "auto_complete", "batching"):
        copy_model(repository, name)
    write_decoupled(repository, "repeat", REPEAT)
    with make_server(repository, options=("--access-log", "--model-control-mode=explicit", "--load-model=*")) as made:
        yield made


def ask_all(server: ServerProcess, path: str, folder: Path, examples: int, *without: str) -> None:
    """Everything of a document, the same every time."""
    command = [str(environment("schemathesis", [SCHEMATHESIS]) / "bin/st"), "run"]
    command += [f"http://{server.http}{path}/docs/dataplane.json", "--seed=1", f"--max-examples={examples}"]
    command += ["--suppress-health-check=all", "--warnings=off", "--no-color", "--continue-on-failure"]
    command += [f"--exclude-checks={','.join([UNSAID, *without])}"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]


def statuses(server: ServerProcess) -> set[int]:
    """What the access log has seen."""
    return {int(found[1]) for line in server.lines if (found := STATUS.search(line))}


@pytest.mark.parametrize("path", ["/v2/models/add_sub", "/v2/models/repeat", "/v2/models/identity/versions/1"])
def test_a_models_document_is_true(described: ServerProcess, tmp_path: Path, path: str) -> None:
    ask_all(described, path, tmp_path, EXAMPLES)
    assert 500 not in statuses(described)


def test_the_servers_document_is_true_and_costs_nothing(described: ServerProcess, tmp_path: Path) -> None:
    """Models are unloaded and loaded as it comes, so that a 503 may be true; a 500 never is."""
    ask_all(described, "/v2", tmp_path, EXAMPLES // 4, "not_a_server_error")
    before, processes = proc.tree_pss_bytes(described.pid), len(proc.tree(described.pid))
    ask_all(described, "/v2", tmp_path, EXAMPLES, "not_a_server_error")
    assert {200, 400, 404, 405} <= statuses(described)
    assert 500 not in statuses(described)
    assert proc.tree_pss_bytes(described.pid) - before < GROWTH
    assert len(proc.tree(described.pid)) <= processes + 5
