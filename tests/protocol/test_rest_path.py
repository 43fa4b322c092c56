import re

import pytest

from pyserver.errors import ErrorCode, ServerError
from pyserver.protocol import rest_path
from pyserver.protocol.rest_path import parse_version


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("", ""),
        ("1", "1"),
        ("0", "0"),
        ("007", "7"),
        ("000", "0"),
        ("v1.0", "v1.0"),
        ("-1", "-1"),
        ("\u0661", "\u0661"),
        (str((1 << 63) - 1), str((1 << 63) - 1)),
    ],
)
def test_versions(text: str, version: str) -> None:
    assert parse_version(text) == version


@pytest.mark.parametrize("text", [str(1 << 63), "9" * 20, "9" * 5000])
def test_a_version_that_overflows_is_refused(text: str) -> None:
    with pytest.raises(ServerError, match="failed to get model version from specified version string '9") as caught:
        parse_version(text)
    assert caught.value.code is ErrorCode.INVALID_ARG
    assert len(caught.value.message) < 300


@pytest.mark.parametrize(
    ("pattern", "path", "named"),
    [
        (rest_path.MODEL, "/v2/models/m", {"name": "m", "version": None}),
        (rest_path.MODEL, "/v2/models/m/versions/12", {"name": "m", "version": "12"}),
        (rest_path.MODEL, "/v2/models/m%2Fx", {"name": "m%2Fx", "version": None}),
        (rest_path.MODEL, "/v2/models/m/", None),
        (rest_path.MODEL, "/v2/models/", None),
        (rest_path.MODEL, "/v2/models/m/versions/", None),
        (rest_path.MODEL, "/v2/models/m/versions/abc", {"name": "m", "version": "abc"}),
        (rest_path.MODEL, "/v2/models/m/versions/a/b", None),
        (rest_path.INFER, "/v2/models/m/infer", {"name": "m", "version": None}),
        (rest_path.INFER, "/v2/models/m/versions/3/infer", {"name": "m", "version": "3"}),
        (rest_path.INFER, "/v2/models/m/infer\n", None),
        (rest_path.INDEX, "/v2/repository/index", {"repository": None}),
        (rest_path.INDEX, "/v2/repository/r/index", {"repository": "r"}),
        (rest_path.LOAD, "/v2/repository/models/m/load", {"repository": None, "name": "m"}),
        (rest_path.LOAD, "/v2/repository/r/models/m/load", {"repository": "r", "name": "m"}),
        (rest_path.UNLOAD, "/v2/repository/models/m/unload", {"repository": None, "name": "m"}),
    ],
)
def test_patterns(pattern: str, path: str, named: dict[str, str | None] | None) -> None:
    found = re.fullmatch(pattern, path)
    assert (found and found.groupdict()) == named
