"""`pyserver completion SHELL`: a script for bash, zsh or fish that completes commands, options and their values."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from pyserver.cli.main import SUBCOMMANDS
from pyserver.settings import flags

BASH = """\
# pyserver completion bash > /etc/bash_completion.d/pyserver, or: source <(pyserver completion bash)
_pyserver() {{
    local word="${{COMP_WORDS[COMP_CWORD]}}" before="${{COMP_WORDS[COMP_CWORD-1]}}"
    [ "$before" = "=" ] && before="${{COMP_WORDS[COMP_CWORD-2]}}"
    [ "$word" = "=" ] && word=""
    case "$before" in
{cases}
    esac
    case "$word" in
        -*) COMPREPLY=($(compgen -W "{options}" -- "$word")) ;;
        *) if [ "$COMP_CWORD" = 1 ]; then COMPREPLY=($(compgen -W "{commands}" -- "$word"))
           else COMPREPLY=($(compgen -f -- "$word")); fi ;;
    esac
}}
complete -o filenames -F _pyserver pyserver
"""

ZSH = """\
#compdef pyserver
# pyserver completion zsh > a folder of your $fpath, as _pyserver
_pyserver() {{
    _arguments \\
        '1:command:({commands})' \\
{options} \\
        '*:file:_files'
}}
if [ "$funcstack[1]" = _pyserver ]; then _pyserver "$@"; else compdef _pyserver pyserver; fi
"""

FILES = ("DIR", "FILE")


def main(arguments: Sequence[str]) -> int:
    """Print the script; 0."""
    parser = argparse.ArgumentParser("pyserver completion", description=__doc__)
    parser.add_argument("shell", choices=list(SCRIPTS))
    print(SCRIPTS[parser.parse_args(arguments).shell](), end="")
    return 0


def bash() -> str:
    """For bash."""
    cases = [
        f"        {option}) {_bash_values(takes, values)}; return ;;" for option, takes, values, _ in _options()[2:]
    ]
    options = " ".join(option for option, *_ in _options())
    return BASH.format(cases="\n".join(cases), options=options, commands=" ".join(SUBCOMMANDS))


def zsh() -> str:
    """For zsh."""
    lines = []
    for option, takes, values, said in _options():
        if option in ("--help", "--version"):
            lines.append(f"        '{option}[{_quoted(said)}]'")
            continue
        action = "_files -/" if takes == "DIR" else "_files" if takes == "FILE" else f"({values})" if values else " "
        lines.append(f"        '*{option}=[{_quoted(said)}]:{takes.lower() or 'value'}:{action}'")
    return ZSH.format(commands=" ".join(SUBCOMMANDS), options=" \\\n".join(lines))


def fish() -> str:
    """For fish."""
    lines = ["# pyserver completion fish > ~/.config/fish/completions/pyserver.fish"]
    lines.append(f"complete -c pyserver -n __fish_use_subcommand -f -a '{' '.join(SUBCOMMANDS)}'")
    for option, takes, values, said in _options():
        needs = "" if option in ("--help", "--version") else " -r" if takes in FILES else " -x"
        given = f" -a '{values}'" if values else ""
        lines.append(f"complete -c pyserver -l {option[2:]}{needs}{given} -d '{_quoted(said)}'")
    return "\n".join(lines) + "\n"


def _options() -> list[tuple[str, str, str, str]]:
    """Every option: its name, what it takes, the values there are, what it does."""
    found = [("--help", "", "", "show the options"), ("--version", "", "", "show the version")]
    for name, default, about in flags():
        values = "true false" if isinstance(default, bool) else " ".join(about["choices"])
        found.append(("--" + name.replace("_", "-"), about["metavar"], values, about["help"]))
    return found


def _bash_values(takes: str, values: str) -> str:
    if takes == "DIR":
        return 'COMPREPLY=($(compgen -d -- "$word"))'
    if takes == "FILE":
        return 'COMPREPLY=($(compgen -f -- "$word"))'
    return f'COMPREPLY=($(compgen -W "{values}" -- "$word"))' if values else "COMPREPLY=()"


def _quoted(said: str) -> str:
    """Between single quotes, and in zsh's brackets."""
    return said.replace("'", "").replace("[", "(").replace("]", ")").replace(":", "")


SCRIPTS = {"bash": bash, "zsh": zsh, "fish": fish}
