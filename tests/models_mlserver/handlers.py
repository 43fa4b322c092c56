"""A runtime with routes of its own."""

import asyncio
import enum
from typing import Any, Dict, List, Optional

import pydantic
from mlserver import MLModel
from mlserver.errors import MLServerError
from mlserver.handlers import custom_handler
from mlserver.rest.responses import Response
from mlserver.types import InferenceRequest, InferenceResponse
from pydantic.fields import FieldInfo


class Question(pydantic.BaseModel):
    text: str
    times: int = 1


class Kind(str, enum.Enum):
    SMALL = "small"
    LARGE = "large"


class Header(FieldInfo):
    """As FastAPI's, which this environment has not."""

    def __init__(self, default: Any = ..., embed: bool = False, **fields: Any) -> None:
        super().__init__(default=default, **fields)
        self.embed = embed


class Query(Header):
    """As FastAPI's."""


class Cookie(Header):
    """As FastAPI's."""


class Body(Header):
    """As FastAPI's."""


class Depends:
    """As FastAPI's."""

    def __init__(self, dependency: Any) -> None:
        self.dependency = dependency


async def doubled(half: int = 1) -> int:
    await asyncio.sleep(0)
    return 2 * half


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

    @custom_handler(rest_path="/plain/{number:int}/{rest:path}", rest_method="GET")
    async def plain(
        self,
        number: int,
        rest: str,
        kind: Kind = Kind.SMALL,
        tags: Optional[List[int]] = Query(None),  # noqa: B008 (as FastAPI has it)
        least: int = Query(1, gt=0),
        session: str = Cookie(""),
        doubled: int = Depends(doubled),
    ) -> Dict[str, object]:
        """Values of every plain kind.

        Nothing of this is in the summary.
        """
        tags = [tag for tag in tags if tag >= least] if tags else tags
        return {"n": number, "rest": rest, "kind": kind, "tags": tags, "session": session, "doubled": doubled}

    @custom_handler(rest_path="/embedded")
    async def embedded(self, question: Question = Body(embed=True)) -> Question:  # noqa: B008
        return question

    @custom_handler(rest_path="/perhaps")
    async def perhaps(self, question: "Question | None" = None) -> str:
        return "nothing" if question is None else question.text

    @custom_handler(rest_path="/broken", rest_method="GET")
    async def broken(self, mine: bool = False) -> None:
        raise RuntimeError("out of paper") if mine else MLServerError("no such thing", 404)
