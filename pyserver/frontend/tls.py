"""TLS for both front ends: the certificate files, tried at start, so that a bad one is told by its name."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import NamedTuple

from pyserver.errors import ServerError, invalid
from pyserver.settings import Settings


class TlsFiles(NamedTuple):
    """PEM files, and the `prefix` of the flags that name them. If `mutual`, clients need a certificate signed by one of
    those in `root`.
    """

    prefix: str
    mutual: bool
    cert: str
    key: str
    root: str


def http_files(settings: Settings) -> TlsFiles | None:
    """What `--http-use-ssl` and `--http-use-ssl-mutual` ask for, None for plain HTTP."""
    return _files(
        "http", settings.http_use_ssl, settings.http_use_ssl_mutual, settings.http_server_cert,
        settings.http_server_key, settings.http_root_cert,
    )  # fmt: skip


def grpc_files(settings: Settings) -> TlsFiles | None:
    """What `--grpc-use-ssl` and `--grpc-use-ssl-mutual` ask for, None for plain gRPC."""
    return _files(
        "grpc", settings.grpc_use_ssl, settings.grpc_use_ssl_mutual, settings.grpc_server_cert,
        settings.grpc_server_key, settings.grpc_root_cert,
    )  # fmt: skip


def _files(prefix: str, use: bool, mutual: bool, cert: str, key: str, root: str) -> TlsFiles | None:
    return TlsFiles(prefix, mutual, cert, key, root) if use or mutual else None


def context(files: TlsFiles) -> ssl.SSLContext:
    """What asyncio serves TLS 1.2 and 1.3 with. ServerError names the flag that is missing or the file that is bad."""
    contents(files)
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    _load_certificates(files.cert, files.prefix)
    try:
        # Without a password given, OpenSSL would ask for one at the terminal.
        made.load_cert_chain(files.cert, files.key, password="")
    except ssl.SSLError as error:
        wrong = "is not that of" if error.reason == "KEY_VALUES_MISMATCH" else "is no private key for"
        why = f"{wrong} the certificate '{files.cert}': {error.reason or error}"
        raise _bad(files.prefix, files.key, why) from None
    if files.mutual:
        made.verify_mode = ssl.CERT_REQUIRED
        _load_certificates(files.root, files.prefix, made)
    return made


def contents(files: TlsFiles) -> tuple[bytes, bytes, bytes | None]:
    """The bytes of certificate, key and, if `mutual`, roots. ServerError where one is missing or can't be read."""
    return (
        _read(files, "server-cert", files.cert),
        _read(files, "server-key", files.key),
        _read(files, "root-cert", files.root) if files.mutual else None,
    )


def _load_certificates(path: str, prefix: str, into: ssl.SSLContext | None = None) -> None:
    try:
        (into or ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)).load_verify_locations(path)
    except ssl.SSLError as error:
        raise _bad(prefix, path, f"has no certificates in PEM: {error.reason or error}") from None


def _read(files: TlsFiles, flag: str, path: str) -> bytes:
    if not path:
        asks = f"--{files.prefix}-use-ssl{'-mutual' if files.mutual else ''}"
        raise invalid(f"{asks} needs --{files.prefix}-{flag} as well")
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise _bad(files.prefix, path, f"can't be read: {error.strerror}") from None


def _bad(prefix: str, path: str, why: str) -> ServerError:
    return invalid(f"TLS of --{prefix}-use-ssl: '{path}' {why}")
