"""Restricted APIs and header forwarding: what the flags say, and who is let through."""

from __future__ import annotations

import pytest

from pyserver.errors import ErrorCode, ServerError
from pyserver.frontend.grpc.heeding import KINDS as RPCS
from pyserver.frontend.grpc.heeding import Heeding
from pyserver.frontend.rest.app import ROUTES
from pyserver.proto import pool
from pyserver.protocol import status
from pyserver.protocol.forwarding import Forwarding, forwarding
from pyserver.protocol.restricted import KINDS, RestrictedError, Restrictions, parse_grpc, parse_http
from pyserver.types import InferRequest


def test_only_with_the_header() -> None:
    restrictions = parse_http(["inference,statistics:adm=pass=word", "health:other=x"])
    restrictions.check("metadata", {}.get)
    restrictions.check("inference", {"adm": "pass=word"}.get)
    for headers in ({}, {"adm": ""}, {"adm": "pass"}, {"adm": "pass=worD"}, {"other": "pass=word"}, {"adm": "ü"}):
        with pytest.raises(RestrictedError) as caught:
            restrictions.check("inference", headers.get)
        assert caught.value.message == "This API is restricted, expecting header 'adm'"
        assert status.http_error(caught.value)[0] == 403
        assert "word" not in caught.value.message
    assert restrictions.restricts("health")
    assert not restrictions.restricts("trace")


def test_grpc_has_its_own_words() -> None:
    restrictions = parse_grpc(["inference:adm=x"])
    restrictions.check("inference", {"triton-grpc-protocol-adm": "x"}.get)
    with pytest.raises(RestrictedError, match="This protocol is restricted, expecting header") as caught:
        restrictions.check("inference", {"adm": "x"}.get)
    assert status.GRPC[caught.value.code] == 14


@pytest.mark.parametrize(
    "texts",
    [["health"], ["health:k"], ["health:=v"], ["health:k="], [":k=v"], ["nope:k=v"], ["health,health:k=v"],
     ["health:k=v", "metadata,health:k=v"]],
)  # fmt: skip
def test_what_makes_no_sense(texts: list[str]) -> None:
    with pytest.raises(ServerError) as caught:
        parse_http(texts)
    assert caught.value.code is ErrorCode.INVALID_ARG


def test_every_route_has_a_kind() -> None:
    assert {handler.kind for _, handler in ROUTES} <= set(KINDS)


def test_every_rpc_has_a_kind() -> None:
    names = [method.name for method in pool.methods("inference.GRPCInferenceService")]
    assert {RPCS[name] for name in names} <= set(KINDS)
    with pytest.raises(KeyError):
        Heeding(Restrictions({}), None).of("/x/New")


def test_who_is_not_concerned_is_not_looked_at() -> None:
    heeding = Heeding(parse_grpc(["statistics:k=v"]), Forwarding("x-"))
    assert heeding.of("/x/ServerLive") is None
    assert heeding.of("/x/ModelStatistics") is not None
    assert heeding.of("/x/ModelInfer") is not None
    assert Heeding(Restrictions({}), None).of("/x/ModelInfer") is None


def test_headers_become_parameters() -> None:
    taken = Forwarding("^X-|trace").parameters([("X-User", "ann"), ("Host", "h"), ("my-traces", "1"), ("x-user", "no")])
    assert taken == {"X-User": "ann", "my-traces": "1"}
    assert forwarding("") is None


@pytest.mark.parametrize("name", ["sequence_id", "timeout", "headers", "triton_x"])
def test_the_protocols_own_are_refused(name: str) -> None:
    with pytest.raises(ServerError, match=f"Header '{name}' is reserved for Triton usage and cannot be forwarded"):
        Forwarding(".*").parameters([(name, "1")])


def test_a_pattern_that_is_none() -> None:
    with pytest.raises(ServerError, match="no pattern"):
        forwarding("(")


def test_metadata_becomes_parameters_of_inferences_alone() -> None:
    heed = Heeding(Restrictions({}), Forwarding("^x-")).of("/x/ModelInfer")
    assert heed is not None
    request = InferRequest("m", parameters={"x-a": "the client's", "b": 1})
    heed(request, {"x-a": "1", "other": "2"})
    assert request.parameters == {"x-a": "1", "b": 1}
    heed(None, {"x-a": "1"})
