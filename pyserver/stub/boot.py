"""Start of a model's process: `INTERPRETER boot.py CHANNEL_FD REQUEST_ARENA_FD RESPONSE_ARENA_FD CALLS_FD TITLE`.

With one descriptor, `INTERPRETER boot.py SOCKET_FD TITLE`, it is a fork server, and its forks are models' processes.

It runs as a script, under an interpreter that need not have the server installed, and so makes `pyserver` importable
itself: as a bare package with this folder's parent for its path, none of whose own code runs.
"""

import faulthandler
import os
import signal
import sys
import types

STUB = os.path.dirname(os.path.abspath(__file__))
PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15
CANNOT_START = 70
FOREGROUND = "PYSERVER_FOREGROUND"
"""Set where the process has a terminal and somebody at it: Ctrl-C is for the model, and so are its prints."""
MARK = "PYSERVER_STUB"
"""Tells a stub, and what its model starts, from all others; see pyserver.instance.descendants."""
ENDING = (signal.SIGINT, signal.SIGTERM)


def die_with_parent() -> None:
    """Let the kernel end this process when the thread that started it ends.

    A parent that died before this call is noticed too: the channel is at its end, before anything was asked.
    """
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def ignore_signals() -> None:
    """Leave the end to the server: Ctrl-C reaches a whole process group, and finalize is still to be called.

    Not by SIG_IGN, which children inherit: what the model forks or starts obeys. A signal that arrives in a child
    before that is so waits, blocked, until it is.
    """

    def obey() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        release()

    def block() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)

    def release() -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)

    for number in ENDING:
        signal.signal(number, lambda *_: None)
    os.register_at_fork(before=block, after_in_parent=release, after_in_child=obey)


def settle(title: str) -> None:
    """What a stub does before it runs anything of others."""
    if FOREGROUND not in os.environ:
        ignore_signals()
    set_title(title)


def set_title(title: str) -> None:
    """Show `title` in ps, where setproctitle is installed; it is the last argument anyway.

    What fits into the thread's name, which top shows, is taken from behind the colon.
    """
    try:
        from setproctitle import setproctitle  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        _prctl(PR_SET_NAME, title.split(": ")[-1].encode()[:15])
    else:
        setproctitle(title)


def make_importable() -> None:
    """Put `pyserver` in place, and what models import before whatever the environment has under these names."""
    if sys.path and os.path.realpath(sys.path[0]) == os.path.realpath(STUB):
        del sys.path[0]  # as the script's folder: its modules are not to be found by their bare names
    package = types.ModuleType("pyserver")
    package.__path__ = [os.path.dirname(STUB)]
    sys.modules["pyserver"] = package
    sys.path.insert(0, os.path.join(STUB, "site"))


def _prctl(option: int, argument: object) -> None:
    import ctypes

    ctypes.CDLL(None, use_errno=True).prctl(option, argument, 0, 0, 0)


def main() -> int:
    """Become a stub, or a fork server, and then a stub in each of its forks."""
    die_with_parent()
    *descriptors, title = sys.argv[1:]
    forks = len(descriptors) == 1
    if not forks:
        settle(title)
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1)  # shows the stacks of all threads
    sys.argv = [""]
    make_importable()
    try:
        from pyserver.stub import forkserver, guise, loop
    except ImportError as error:
        print(f"{sys.executable} cannot run a model: {type(error).__name__}: {error}", file=sys.stderr)
        return CANNOT_START
    if not forks:
        return loop.main(*map(int, descriptors))
    birth = forkserver.serve(int(descriptors[0]))
    if birth is None:
        return 0
    die_with_parent()
    guise.show_variable(MARK, os.environ[MARK], birth.mark)
    os.environ[MARK] = birth.mark
    guise.show_title(title, birth.title)
    settle(birth.title)
    return loop.main(*birth.descriptors)


if __name__ == "__main__":
    sys.exit(main())
