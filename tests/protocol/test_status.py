import json
from http import HTTPStatus

import grpc
import pytest

from pyserver.errors import ErrorCode, ServerError, unavailable
from pyserver.protocol import status

GRPC_NUMBERS = {code.name: code.value[0] for code in grpc.StatusCode}


@pytest.mark.parametrize(
    ("code", "http", "name"),
    [
        (ErrorCode.UNKNOWN, 400, "UNKNOWN"),
        (ErrorCode.INTERNAL, 500, "INTERNAL"),
        (ErrorCode.NOT_FOUND, 404, "NOT_FOUND"),
        (ErrorCode.INVALID_ARG, 400, "INVALID_ARGUMENT"),
        (ErrorCode.UNAVAILABLE, 503, "UNAVAILABLE"),
        (ErrorCode.UNSUPPORTED, 501, "UNIMPLEMENTED"),
        (ErrorCode.ALREADY_EXISTS, 400, "ALREADY_EXISTS"),
        (ErrorCode.CANCELLED, 400, "CANCELLED"),
    ],
)
def test_every_code_has_its_status(code: ErrorCode, http: int, name: str) -> None:
    assert status.HTTP[code] == http
    assert status.GRPC[code] == GRPC_NUMBERS[name]


def test_no_code_is_forgotten() -> None:
    assert set(status.HTTP) == set(status.GRPC) == set(ErrorCode)


def test_the_body_is_one_compact_object() -> None:
    assert status.http_error(ServerError(ErrorCode.NOT_FOUND, 'no "x"\n')) == (404, b'{"error":"no \\"x\\"\\n"}')


def test_a_message_that_utf8_cannot_hold_is_still_told() -> None:
    assert json.loads(status.error_body("bad \udcff byte, good ä")) == {"error": "bad ? byte, good ä"}


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("not in '/srv/models/resnet/1/model.py'", "not in 'model.py'"),
        ("(searched: /a/b/models, /tmp/x)", "(searched: models, x)"),
        ("At:\n  /srv/m/1/model.py(12): execute\n", "At:\n  model.py(12): execute\n"),
        ("text proto from /srv/m/config.pbtxt:3:4: bad", "text proto from config.pbtxt:3:4: bad"),
        ("<Thing object at 0x7f12ab34cd56>", "<Thing object>"),
        ("a folder /srv/models/", "a folder "),
        ("see https://example.org/a/b and http://h:80/c/d", "see https://example.org/a/b and http://h:80/c/d"),
        ("POST /v2/models/m/infer, shared memory /key, 1/2/3, file:1/model.py, a ratio of 3 / 4", None),
        ("~/models/m and ../x/y", None),
        ("/" * 5000, None),
        ("/a" * 4000, "a"),
        ("x" * 8193, "x" * 8189 + "..."),
    ],
)  # fmt: skip
def test_no_path_and_no_address_is_told(said: str, told: str | None) -> None:
    assert status.told(said) == (said if told is None else told)
    entry = {"name": "m", "state": "UNAVAILABLE", "reason": said}
    assert status.index_told([entry, {"name": "n"}]) == [{**entry, "reason": status.told(said)}, {"name": "n"}]


@pytest.mark.parametrize(("seconds", "header"), [(None, None), (0.0, "1"), (0.2, "1"), (1.0, "1"), (2.5, "3")])
def test_retry_after_is_whole_seconds(seconds: float | None, header: str | None) -> None:
    assert status.retry_after(unavailable("full", seconds)) == header


@pytest.mark.parametrize("number", [200, 400, 404, 405, 500, 501, 503])
def test_reasons(number: int) -> None:
    assert status.http_reason(number) == HTTPStatus(number).phrase


def test_an_unknown_status_has_no_reason() -> None:
    assert status.http_reason(599) == ""
