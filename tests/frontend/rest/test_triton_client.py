"""NVIDIA's own asynchronous client against the routes: what it sends is understood, what it reads is there."""

from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
from tritonclient.http.aio import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException


@pytest.fixture
async def client(world: Any) -> AsyncIterator[InferenceServerClient]:
    made = InferenceServerClient(f"127.0.0.1:{world.server.port}")
    yield made
    await made.close()


@pytest.mark.parametrize("algorithm", [None, "gzip", "deflate"])
@pytest.mark.parametrize(("sent", "asked"), [(True, True), (True, False), (False, True), (False, False)])
@pytest.mark.parametrize("datatype", ["FP32", "INT64", "BOOL", "BYTES"])
async def test_infer(
    world: Any, client: InferenceServerClient, datatype: str, sent: bool, asked: bool, algorithm: str | None
) -> None:
    value = {
        "FP32": np.array([[0.1, -2.5]], np.float32),
        "INT64": np.array([[1 << 62, -1]]),
        "BOOL": np.array([[True, False]]),
        "BYTES": np.array([["a", "ä\n"]], object),
    }[datatype]
    tensor = InferInput("x", list(value.shape), datatype)
    tensor.set_data_from_numpy(value, binary_data=sent)
    result = await client.infer(
        "m",
        [tensor],
        outputs=[InferRequestedOutput("x", binary_data=asked)],
        request_id="i",
        request_compression_algorithm=algorithm,
        response_compression_algorithm=algorithm,
        sequence_id=5,
        sequence_start=True,
        priority=1,
        timeout=1000,
        parameters={"custom": "p"},
    )
    got = result.as_numpy("x")
    if datatype == "BYTES":
        got = np.array(
            [element.decode() if isinstance(element, bytes) else element for element in got.ravel()]
        ).reshape(1, 2)
    assert got.tolist() == value.tolist()
    assert result.get_response()["id"] == "i"
    (request,) = world.data_plane.requests
    assert (request.id, request.correlation_id, request.priority, request.timeout_us) == ("i", 5, 1, 1000)
    assert request.parameters == {"custom": "p"}


async def test_everything_else(world: Any, client: InferenceServerClient) -> None:
    assert await client.is_server_live()
    assert await client.is_server_ready()
    assert await client.is_model_ready("m")
    assert not await client.is_model_ready("nn")
    assert (await client.get_server_metadata())["name"] == "triton"
    assert (await client.get_model_metadata("m", "1"))["asked"] == "1"
    assert (await client.get_model_config("m"))["name"] == "ä"
    assert (await client.get_inference_statistics())["model_stats"]
    assert (await client.get_model_repository_index())[0]["state"] == "READY"
    await client.load_model("m", config="{}", files={"file:1/model.py": b"\0\1\2"})
    await client.unload_model("m")
    assert world.control_plane.said[1:] == [
        ("load", "m", {"config": "{}", "file:1/model.py": b"\0\1\2"}),
        ("unload", "m", False),
    ]


async def test_errors(client: InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException, match="unknown model: 'nn' is not found") as caught:
        await client.get_model_metadata("nn")
    assert caught.value.status() == "404"
