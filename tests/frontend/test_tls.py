"""Certificate files that can't be used, each told by its name and its fault."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pyserver.errors import ErrorCode, ServerError
from pyserver.frontend import tls
from pyserver.settings import Settings
from tests.support.certificates import Certificates


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


CASES = {
    "cert is not there": ("cert", "missing", "can't be read: No such file or directory"),
    "key is not there": ("key", "missing", "can't be read: No such file or directory"),
    "root is not there": ("root", "missing", "can't be read: No such file or directory"),
    "a folder": ("cert", "", "can't be read: Is a directory"),
    "no certificate": ("cert", "nonsense", "has no certificates in PEM"),
    "a key as certificate": ("cert", "server.key", "has no certificates in PEM"),
    "no key": ("key", "nonsense", "is no private key for the certificate"),
    "a certificate as key": ("key", "server.pem", "is no private key for the certificate"),
    "another's key": ("key", "client.key", "is not that of the certificate"),
    "no roots": ("root", "nonsense", "has no certificates in PEM"),
}


@pytest.mark.parametrize(("which", "name", "says"), CASES.values(), ids=CASES)
def test_a_bad_file_is_named(files: Certificates, tmp_path: Path, which: str, name: str, says: str) -> None:
    (tmp_path / "nonsense").write_text("-----BEGIN CERTIFICATE-----\nnothing\n")
    folder = files.root.parent if "." in name else tmp_path
    good = tls.TlsFiles("http", True, str(files.cert), str(files.key), str(files.root))
    path = str(folder / name)
    with pytest.raises(ServerError, match=re.escape(f"'{path}' {says}")) as caught:
        tls.context(good._replace(**{which: path}))
    assert caught.value.code is ErrorCode.INVALID_ARG


@pytest.mark.parametrize("prefix", ["http", "grpc"])
def test_what_is_asked_for(prefix: str, files: Certificates) -> None:
    read = {"http": tls.http_files, "grpc": tls.grpc_files}[prefix]
    assert read(Settings()) is None
    use, mutual, cert, key = (f"{prefix}_{name}" for name in ("use_ssl", "use_ssl_mutual", "server_cert", "server_key"))
    given = {cert: str(files.cert), key: str(files.key)}
    asked = read(Settings(**{use: True, **given}))
    assert asked == tls.TlsFiles(prefix, False, str(files.cert), str(files.key), "")
    assert tls.contents(asked) == (files.cert.read_bytes(), files.key.read_bytes(), None)
    with pytest.raises(ServerError, match=f"^--{prefix}-use-ssl-mutual needs --{prefix}-root-cert as well$"):
        tls.context(read(Settings(**{mutual: True, **given})))  # type: ignore[arg-type]
    with pytest.raises(ServerError, match=f"^--{prefix}-use-ssl needs --{prefix}-server-cert as well$"):
        tls.context(read(Settings(**{use: True})))  # type: ignore[arg-type]
