"""A runtime with routes of its own."""

import asyncio
from typing import Dict, List, Optional

import pydantic
from mlserver import MLModel
from mlserver.errors import MLServerError
from mlserver.handlers import custom_handler
from mlserver.rest.responses import Response
from mlserver.types import InferenceRequest, InferenceResponse


class Question(pydantic.BaseModel):
    text: str
    times: int = 1


class Header:
    """As FastAPI's, which this environment has not."""

    def __init__(self, default: object = ..., alias: Optional[str] = None) -> None:
        self.default = default
        self.alias = alias


class Answers(MLModel):
    """Handlers of every form that the tests ask for."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        return InferenceResponse(model_name=self.name, outputs=[])

    @custom_handler(rest_path="/answers")
    async def by_object(self, question: Question) -> Dict[str, object]:
        await asyncio.sleep(0)
        return {"model": self.name, "said": question.text * question.times}

    @custom_handler(rest_path="/answers/{number}", rest_method="GET")
    def by_values(
        self, number: int, tag: Optional[List[str]] = None, x_user_id: str = Header("nobody")
    ) -> List[object]:
        return [number, tag, x_user_id]

    @custom_handler(rest_path="/summed")
    def summed(self, numbers: List[float], scale: float = 1.0) -> float:
        return sum(numbers) * scale

    @custom_handler(rest_path="/prepared", rest_method="PUT")
    async def prepared(self, one: Question, two: Question) -> Response:
        return Response({"one": one, "two": two.text}, status_code=201, headers={"X-Made": "here"})

    @custom_handler(rest_path="/echoed")
    async def echoed(self, request: InferenceRequest) -> InferenceResponse:
        return InferenceResponse(model_name=self.name, id=request.id, outputs=[])

    @custom_handler(rest_path="/broken", rest_method="GET")
    async def broken(self, mine: bool = False) -> None:
        raise RuntimeError("out of paper") if mine else MLServerError("no such thing", 404)
