"""Shell completion: the scripts, run by the shells where they are."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from pyserver.cli import completion
from pyserver.cli.main import SUBCOMMANDS, main
from pyserver.settings import flags

SHELLS = {"bash": ["bash", "-n"], "zsh": ["zsh", "-n"], "fish": ["fish", "--no-execute"]}


@pytest.mark.parametrize("shell", SHELLS)
def test_every_option_and_command_is_there(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    for name in (*SUBCOMMANDS, *(name.replace("_", "-") for name, _, _ in flags())):
        assert name in script


@pytest.mark.parametrize("shell", SHELLS)
def test_the_shell_takes_it(shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    done = subprocess.run(SHELLS[shell], input=completion.SCRIPTS[shell](), text=True, capture_output=True, timeout=20)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (["pyserver", "ch"], ["check"]),
        (["pyserver", "--log-f"], ["--log-format", "--log-file"]),
        (["pyserver", "--log-format", "js"], ["json"]),
        (["pyserver", "--log-format", "=", "js"], ["json"]),
        (["pyserver", "--http-port", ""], []),
        (["pyserver", "--model-repository", "/usr/sbi"], ["/usr/sbin"]),
    ],
)
def test_what_bash_offers(typed: list[str], offered: list[str]) -> None:
    words = " ".join(f"'{word}'" for word in typed)
    script = f"{completion.bash()}\nCOMP_WORDS=({words}); COMP_CWORD={len(typed) - 1}; _pyserver\n"
    done = subprocess.run(
        ["bash", "-s"], input=script + 'printf "%s\\n" "${COMPREPLY[@]}"', text=True, capture_output=True, timeout=20
    )
    assert done.stdout.split() == offered
