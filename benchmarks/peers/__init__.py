"""The servers that can be measured, by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks.mlserver_folder import write_folder
from benchmarks.peers.litserve import LitServe, LitServePeer
from benchmarks.peers.mlserver import MLServer, MLServerPeer
from benchmarks.peers.mosec import Mosec, MosecPeer
from benchmarks.peers.peer import Peer, V2Peer
from tools.process import ServerProcess, pyserver_command
from tools.triton import TritonServer

MODELS = Path(__file__).parent.parent / "models"


def pyserver(folder: Path) -> Peer:
    """Our own, on Triton's models and MLServer's folder."""
    write_folder(folder)
    return V2Peer("pyserver", ServerProcess(pyserver_command(MODELS, folder), "pyserver"))


def triton(folder: Path) -> Peer:
    """Triton with its Python backend."""
    return V2Peer("triton", TritonServer(MODELS))


def mlserver(folder: Path) -> Peer:
    """MLServer with a runtime of its own kind."""
    return MLServerPeer("mlserver", MLServer(folder))


def mosec(folder: Path) -> Peer:
    """The mosec framework."""
    return MosecPeer("mosec", Mosec(folder))


def litserve(folder: Path) -> Peer:
    """The LitServe framework."""
    return LitServePeer("litserve", LitServe(folder))


PEERS: dict[str, Callable[[Path], Peer]] = {
    "pyserver": pyserver,
    "triton": triton,
    "mlserver": mlserver,
    "mosec": mosec,
    "litserve": litserve,
}
"""Each takes an empty folder of its own, and gives a peer whose process is not started yet."""
