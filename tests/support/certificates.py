"""Certificates for a test, signed by an authority of its own."""

from __future__ import annotations

from pathlib import Path

import trustme

FLAGS = ("server-cert", "server-key", "root-cert")


class Certificates:
    """PEM files in `folder`: the server's and a client's, of one authority, and a client's that a stranger signed."""

    def __init__(self, folder: Path) -> None:
        authority, stranger = trustme.CA(), trustme.CA()
        self.root = folder / "root.pem"
        authority.cert_pem.write_to_path(str(self.root))
        self.cert, self.key = self._issue(folder, "server", authority)
        self.client = self._issue(folder, "client", authority)
        self.stranger = self._issue(folder, "stranger", stranger)

    @staticmethod
    def _issue(folder: Path, name: str, authority: trustme.CA) -> tuple[Path, Path]:
        made = authority.issue_cert("localhost", "127.0.0.1")
        cert, key = folder / f"{name}.pem", folder / f"{name}.key"
        made.cert_chain_pems[0].write_to_path(str(cert))
        made.private_key_pem.write_to_path(str(key))
        return cert, key

    def options(self, prefix: str, mutual: bool = False) -> tuple[str, ...]:
        """The command line that asks for TLS on `http` or `grpc`."""
        files = dict(zip(FLAGS, (self.cert, self.key, self.root), strict=True))
        if not mutual:
            del files["root-cert"]
        use = f"--{prefix}-use-ssl{'-mutual' if mutual else ''}"
        return (use, *(f"--{prefix}-{flag}={path}" for flag, path in files.items()))
