"""Frozen, validated settings dataclasses that refuse unknown keys, and their JSON."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

import pydantic
import pydantic.dataclasses
from typing_extensions import dataclass_transform

T = TypeVar("T")

Count = Annotated[int, pydantic.Field(ge=1, le=10**9)]
Natural = Annotated[int, pydantic.Field(ge=0, le=10**9)]
Seed = Annotated[int, pydantic.Field(ge=0, lt=2**31)]
NonNegative = Annotated[float, pydantic.Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, pydantic.Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, pydantic.Field(ge=0, le=1, allow_inf_nan=False)]
"""Number types of settings, with their ranges. The error for a number out of range names its key."""


@dataclass_transform(frozen_default=True, kw_only_default=True)
def settings(cls: type[T]) -> type[T]:
    """Makes `cls` a frozen, keyword-only dataclass with strict validation and without unknown keys."""
    config = pydantic.ConfigDict(extra="forbid", strict=True)
    return pydantic.dataclasses.dataclass(cls, frozen=True, kw_only=True, config=config)  # type: ignore


def to_json(value: Any) -> str:
    """The settings as JSON, for example for an execution property of a component."""
    return pydantic.TypeAdapter(type(value)).dump_json(value).decode()


def from_json(cls: type[T], text: str | bytes) -> T:
    """The inverse of `to_json`.

    Raises:
        pydantic.ValidationError: if the text does not describe a `cls`.
    """
    return pydantic.TypeAdapter(cls).validate_json(text)
