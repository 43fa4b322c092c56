"""What the C library's heap keeps: page faults of a process of its own, with and without."""

from __future__ import annotations

import subprocess
import sys

import pytest

ROUNDS = 50
PAGES = (1 << 20) // 4096
PROGRAM = """
import resource, sys
from pyserver.core import heap
if sys.argv[1] == "keep" and not heap.keep(32 << 20, 64 << 20):
    sys.exit(3)
rounds = int(sys.argv[2])
def use():
    held = [bytes([n]) * (1 << 20) for n in range(4)]  # several, so that the heap's end would be given back
use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(rounds):
    use()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, how, str(ROUNDS)], capture_output=True, text=True, check=False, timeout=60
    )
    if done.returncode == 3:
        pytest.skip("this C library's heap takes no orders")
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_large_blocks_are_used_again_without_page_faults() -> None:
    assert faults("keep") < PAGES
    assert faults("as it is") > ROUNDS * PAGES  # what it is for: otherwise each round faults them in again
