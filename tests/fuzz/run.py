"""The fuzzer: `python -m tests.fuzz.run --minutes 10 [TARGET ...]` feeds every target in turn, each for its share.

With atheris (libFuzzer) what is Python is instrumented, so that inputs that reach something new are kept (`--corpus`)
and built upon. An input that raises is written to the corpus's `crashes` and ends the run with 1.
"""

from __future__ import annotations

import argparse
import random
import re
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
MAX_LENGTH = 4096
MEMORY = 2048
"""MiB that one target may take."""
_DONE = re.compile(r"Done (\d+) runs in (\d+) second")


def main(arguments: Sequence[str]) -> int:
    """Run the targets one after another, each in a process of its own; 1 if any of them fell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="in all")
    parser.add_argument("--corpus", type=Path, default=ROOT / "build" / "fuzz", help="folder of interesting inputs")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("targets", nargs="*", help="of those in tests.fuzz.targets; all unless given")
    given = parser.parse_args(arguments)
    if given.inside:
        return fuzz(given.targets[0], given.corpus, given.minutes)
    names = given.targets or _names()
    fallen = [name for name in names if not _run(name, given.corpus, given.minutes / len(names))]
    if fallen:
        print(f"fell: {', '.join(fallen)}; the inputs are in {given.corpus}")
    return int(bool(fallen))


def _names() -> list[str]:
    from tests.fuzz.targets import TARGETS

    return list(TARGETS)


def _run(name: str, corpus: Path, minutes: float) -> bool:
    command = [sys.executable, "-m", "tests.fuzz.run", "--inside", "--minutes", str(minutes), "--corpus", str(corpus)]
    started = time.monotonic()
    done = subprocess.run([*command, name], cwd=ROOT, capture_output=True, text=True)
    output = "\n".join(
        line for line in (done.stdout + done.stderr).splitlines() if not line.startswith(("INFO: ", "#"))
    )
    runs = _DONE.search(output)
    verdict = f"{runs[1]} executions" if runs else "fell"
    print(f"{name:>14}: {verdict} in {time.monotonic() - started:.0f} s", flush=True)
    if done.returncode or not runs:
        print(output[-6000:], flush=True)
    return not done.returncode and runs is not None


def fuzz(name: str, corpus: Path, minutes: float) -> int:
    """Feed one target in this process; doesn't return."""
    import atheris

    with atheris.instrument_imports(include=["pyserver", "tests.fuzz"]):
        from tests.fuzz.targets import TARGETS

    target = TARGETS[name]
    folder = corpus / name.replace(" ", "_")
    crashes = corpus / "crashes"
    for each in (folder, crashes):
        each.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds):
        (folder / f"seed{number}").write_bytes(seed)
    words = folder.with_suffix(".dict")
    words.write_text("".join(f'"{_escaped(word)}"\n' for word in target.words))
    options = [
        f"-max_total_time={max(1, round(60 * minutes))}", f"-max_len={MAX_LENGTH}", f"-rss_limit_mb={MEMORY}",
        f"-artifact_prefix={crashes}/{folder.name}-", "-timeout=10",
        f"-seed={random.SystemRandom().randrange(1, 1 << 31)}",
        *([f"-dict={words}"] if target.words else []), str(folder),
    ]  # fmt: skip
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    atheris.Setup([sys.argv[0], *options], target.feed)
    atheris.Fuzz()
    return 0


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
