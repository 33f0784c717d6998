"""How every piece of configuration is declared: a frozen dataclass that refuses what it does not know."""

from __future__ import annotations

from typing import Any, TypeVar

import pydantic
import pydantic.dataclasses
from typing_extensions import dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, kw_only_default=True)
def settings(cls: type[T]) -> type[T]:
    """Makes `cls` a frozen, keyword-only dataclass, validated strictly and closed to unknown keys."""
    config = pydantic.ConfigDict(extra="forbid", strict=True)
    return pydantic.dataclasses.dataclass(cls, frozen=True, kw_only=True, config=config)  # type: ignore


def to_json(value: Any) -> str:
    """The settings as JSON: what travels to a component as an execution property."""
    return pydantic.TypeAdapter(type(value)).dump_json(value).decode()


def from_json(cls: type[T], text: str) -> T:
    """The inverse of `to_json`.

    Raises:
        pydantic.ValidationError: if the text does not describe a `cls`.
    """
    return pydantic.TypeAdapter(cls).validate_json(text)
