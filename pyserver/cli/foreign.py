"""The flags of tritonserver that mean nothing here, and what becomes of each: a line of notice, or a refusal."""

from __future__ import annotations

import argparse
import sys
from typing import Any, NamedTuple


class Fate(NamedTuple):
    """Why a flag has no effect; `refuse` are the values that ask for something that is not done here."""

    why: str
    refuse: tuple[str, ...] = ()

    def shape(self) -> dict[str, Any]:
        """How argparse takes it: with a value or, where it may be true or false, without."""
        return {"nargs": "?" if self.refuse else None, "dest": argparse.SUPPRESS, "default": argparse.SUPPRESS}


_TRUE = ("true", "1", "on", "yes")
_LOOP = Fate("one event loop serves all connections: there are no threads to count")
_POOL = Fate("messages are not pooled here: their memory is reused all the same")
_GPU = Fate("tensors travel through the CPU's memory: the server itself holds none on a GPU")
_SAGEMAKER = Fate("SageMaker's protocol is not spoken here", _TRUE)
_VERTEX = Fate("Vertex AI's protocol is not spoken here", _TRUE)
_AGENTS = Fate("there are no repository agents here")

FLAGS = {
    "--http-thread-count": _LOOP,
    "--grpc-infer-thread-count": _LOOP,
    "--grpc-infer-allocation-pool-size": _POOL,
    "--grpc-max-response-pool-size": _POOL,
    "--buffer-manager-thread-count": Fate("tensors are copied where they are needed: there are no threads for it"),
    "--pinned-memory-pool-byte-size": _GPU,
    "--cuda-memory-pool-byte-size": _GPU,
    "--cuda-virtual-address-size": _GPU,
    "--min-supported-compute-capability": _GPU,
    "--enable-peer-access": _GPU,
    "--model-load-gpu-limit": _GPU,
    "--host-policy": Fate("instances run where the system puts them: bind the server itself, with numactl or taskset"),
    "--backend-config": Fate("models have memory of their own, sized as needed, and --model-load-timeout-secs to load"),
    "--cache-directory": Fate("the caches, local and redis, are part of the server"),
    "--repoagent-directory": _AGENTS,
    "--model-namespacing": Fate("models of different repositories may not have the same name", _TRUE),
    "--allow-sagemaker": _SAGEMAKER,
    "--sagemaker-port": Fate("SageMaker's protocol is not spoken here"),
    "--sagemaker-safe-port-range": Fate("SageMaker's protocol is not spoken here"),
    "--sagemaker-thread-count": Fate("SageMaker's protocol is not spoken here"),
    "--allow-vertex-ai": _VERTEX,
    "--vertex-ai-port": Fate("Vertex AI's protocol is not spoken here"),
    "--vertex-ai-thread-count": Fate("Vertex AI's protocol is not spoken here"),
    "--vertex-ai-default-model": Fate("Vertex AI's protocol is not spoken here"),
}
"""A flag that gets a meaning is a field of the settings, and need not be taken out here."""


class Foreign(argparse.Action):
    """Says why the flag has no effect, or exits with 2 where its value asks for what is not done."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        """Take the flag."""
        fate: Fate = self.const
        said = "true" if values is fate else str(values)  # argparse's way to say that there is no value
        if said.lower() in fate.refuse:
            parser.error(f"{option}: {fate.why}")
        print(f"pyserver: {option} has no effect: {fate.why}", file=sys.stderr)
