"""Start of a model's process: `INTERPRETER boot.py CHANNEL_FD REQUEST_ARENA_FD RESPONSE_ARENA_FD TITLE`.

It runs as a script, under an interpreter that need not have the server installed, and so makes `pyserver` importable
itself: as a bare package with this folder's parent for its path, none of whose own code runs.
"""

import sys

# The script's folder stands first on the path: its modules are not for import by their bare names.
if sys.path[0] == __file__.rpartition("/")[0]:
    del sys.path[0]

import os  # noqa: E402
import signal  # noqa: E402
import types  # noqa: E402

STUB = os.path.dirname(os.path.abspath(__file__))
PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15
CANNOT_START = 70


def die_with_parent() -> None:
    """Let the kernel end this process when the thread that started it ends.

    A parent that died before this call is noticed too: the channel is at its end, before anything was asked.
    """
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def ignore_signals() -> None:
    """Leave the end to the server: Ctrl-C reaches a whole process group, and finalize is still to be called.

    Not SIG_IGN, which children would inherit: those that the model forks are to obey.
    """
    stub = os.getpid()

    def handle(number, _):  # type: ignore[no-untyped-def]
        if os.getpid() != stub:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    signal.signal(signal.SIGINT, handle)
    signal.signal(signal.SIGTERM, handle)


def set_title(title: str) -> None:
    """Show `title` in ps, where setproctitle is installed, or else what fits of it as the thread's name."""
    try:
        from setproctitle import setproctitle  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        _prctl(PR_SET_NAME, title.encode()[:15])
    else:
        setproctitle(title)


def make_importable() -> None:
    """Put `pyserver` in place, and what models import before whatever the environment has under these names."""
    package = types.ModuleType("pyserver")
    package.__path__ = [os.path.dirname(STUB)]
    sys.modules["pyserver"] = package
    sys.path.insert(0, os.path.join(STUB, "site"))


def _prctl(option: int, argument: object) -> None:
    import ctypes

    ctypes.CDLL(None, use_errno=True).prctl(option, argument, 0, 0, 0)


def main() -> int:
    """Become a stub."""
    die_with_parent()
    ignore_signals()
    channel, requests, responses, title = sys.argv[1:]
    sys.argv = [""]
    set_title(title)
    make_importable()
    try:
        from pyserver.stub import loop
    except ImportError as error:
        print(f"{sys.executable} cannot run a model: {type(error).__name__}: {error}", file=sys.stderr)
        return CANNOT_START
    return loop.main(int(channel), int(requests), int(responses))


if __name__ == "__main__":
    sys.exit(main())
