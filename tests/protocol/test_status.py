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


@pytest.mark.parametrize(("seconds", "header"), [(None, None), (0.0, "1"), (0.2, "1"), (1.0, "1"), (2.5, "3")])
def test_retry_after_is_whole_seconds(seconds: float | None, header: str | None) -> None:
    assert status.retry_after(unavailable("full", seconds)) == header


@pytest.mark.parametrize("number", [200, 400, 404, 405, 500, 501, 503])
def test_reasons(number: int) -> None:
    assert status.http_reason(number) == HTTPStatus(number).phrase


def test_an_unknown_status_has_no_reason() -> None:
    assert status.http_reason(599) == ""
