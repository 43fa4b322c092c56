"""Routes of shared memory: status, register and unregister, of the system's and of CUDA's."""

from __future__ import annotations

from pyserver.frontend.rest import limits
from pyserver.frontend.rest.handler import Handler
from pyserver.protocol import rest_shared_memory


class SystemStatus(Handler):
    """The regions that are registered."""

    kind = "shared-memory"

    def get(self, name: str = "") -> None:
        """`/v2/systemsharedmemory[/region/{name}]/status`."""
        self.reply_json(self.data_plane.regions.status(name))


class SystemRegister(Handler):
    """Let requests name a part of a shared memory object."""

    kind = "shared-memory"

    def post(self, name: str = "") -> None:
        """`/v2/systemsharedmemory/region/{name}/register`."""
        if len(self.body) > self.rest.limits.max_input_size:
            raise limits.input_too_large(len(self.body), self.rest.limits)
        self.data_plane.regions.register(name, *rest_shared_memory.decode_register(self.body))
        self.reply()


class SystemUnregister(Handler):
    """Forget a region, or all; requests that use one finish with it."""

    kind = "shared-memory"

    def post(self, name: str = "") -> None:
        """`/v2/systemsharedmemory[/region/{name}]/unregister`."""
        self.data_plane.regions.unregister(name)
        self.reply()


class CudaStatus(Handler):
    """As `SystemStatus`."""

    kind = "shared-memory"

    def get(self, name: str = "") -> None:
        """`/v2/cudasharedmemory[/region/{name}]/status`."""
        self.reply_json(self.data_plane.regions.status_cuda(name))


class CudaRegister(Handler):
    """A server without a GPU says so."""

    kind = "shared-memory"

    def post(self, name: str = "") -> None:
        """`/v2/cudasharedmemory/region/{name}/register`."""
        if len(self.body) > self.rest.limits.max_input_size:
            raise limits.input_too_large(len(self.body), self.rest.limits)
        self.data_plane.regions.register_cuda(name, *rest_shared_memory.decode_register_cuda(self.body))
        self.reply()


class CudaUnregister(Handler):
    """As `SystemUnregister`."""

    kind = "shared-memory"

    def post(self, name: str = "") -> None:
        """`/v2/cudasharedmemory[/region/{name}]/unregister`."""
        self.data_plane.regions.unregister_cuda(name)
        self.reply()
