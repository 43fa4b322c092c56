"""The messages beside inference, from bytes to what the planes are asked and back."""

import pytest

from pyserver.errors import ErrorCode, ServerError
from pyserver.proto import inference as pb
from pyserver.protocol import grpc_messages as messages

PARSERS = [messages.parse_named, messages.parse_index, messages.parse_load, messages.parse_unload]


@pytest.mark.parametrize("parse", PARSERS)
def test_what_is_no_message(parse):
    with pytest.raises(ServerError, match="failed to parse the") as raised:
        parse(b"\xff\xff")
    assert raised.value.code is ErrorCode.INVALID_ARG


def test_requests_that_name_a_model_are_alike():
    for kind in (pb.ModelReadyRequest, pb.ModelMetadataRequest, pb.ModelConfigRequest, pb.ModelStatisticsRequest):
        assert messages.parse_named(kind(name="m", version="3").SerializeToString()) == ("m", "3")


def test_a_load_keeps_bytes_as_they_are():
    request = pb.RepositoryModelLoadRequest(model_name="m")
    request.parameters["config"].string_param = "{}"
    request.parameters["file:1/model.py"].bytes_param = b"\x00\xff"
    assert messages.parse_load(request.SerializeToString()) == ("m", {"config": "{}", "file:1/model.py": b"\x00\xff"})


def test_an_unload_that_says_nothing_about_dependents():
    request = pb.RepositoryModelUnloadRequest(model_name="m")
    request.parameters["something"].string_param = "else"
    assert messages.parse_unload(request.SerializeToString()) == ("m", False)


def test_a_configuration_with_fields_of_tomorrow():
    found = pb.ModelConfigResponse.FromString(
        messages.model_config('{"name":"m","tomorrow":{"x":[1]},"input":[{"dims":[-1]}]}')
    )
    assert found.config.name == "m"
    assert list(found.config.input[0].dims) == [-1]
