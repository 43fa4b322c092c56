"""What all types have in common: dumps without what was not set, and pydantic 1's method names."""

from __future__ import annotations

from typing import Any

import pydantic


class BaseModel(pydantic.BaseModel):
    """A pydantic 2 model whose dumps leave out None and what was not set, under the names of both pydantics."""

    model_config = pydantic.ConfigDict(protected_namespaces=(), use_enum_values=True)

    def model_dump(self, *, exclude_unset: bool = True, exclude_none: bool = True, **kwargs: Any) -> dict[str, Any]:
        """As pydantic's, with other defaults."""
        return super().model_dump(exclude_unset=exclude_unset, exclude_none=exclude_none, **kwargs)

    def model_dump_json(self, *, exclude_unset: bool = True, exclude_none: bool = True, **kwargs: Any) -> str:
        """As pydantic's, with other defaults."""
        return super().model_dump_json(exclude_unset=exclude_unset, exclude_none=exclude_none, **kwargs)

    def dict(self, **kwargs: Any) -> Any:
        """Pydantic 1's name of `model_dump`."""
        return self.model_dump(**kwargs)

    def json(self, **kwargs: Any) -> str:
        """Pydantic 1's name of `model_dump_json`."""
        return self.model_dump_json(**kwargs)

    def copy(self, *, deep: bool = False, update: Any = None, **kwargs: Any) -> Any:
        """Pydantic 1's name of `model_copy`."""
        return self.model_copy(deep=deep, update=update)

    @classmethod
    def parse_obj(cls, obj: Any) -> Any:
        """Pydantic 1's name of `model_validate`."""
        return cls.model_validate(obj)

    @classmethod
    def parse_raw(cls, b: Any, **kwargs: Any) -> Any:
        """Pydantic 1's name of `model_validate_json`."""
        return cls.model_validate_json(b)

    @classmethod
    def parse_file(cls, path: Any, **kwargs: Any) -> Any:
        """An object of the JSON in a file."""
        with open(path, "rb") as file:
            return cls.parse_raw(file.read())

    @classmethod
    def construct(cls, _fields_set: Any = None, **values: Any) -> Any:
        """Pydantic 1's name of `model_construct`."""
        return cls.model_construct(_fields_set, **values)
