"""Severity of each kind of anomaly that SpanValidator finds."""

from __future__ import annotations

from typing import Literal

from models.settings import settings

Severity = Literal["stop", "warn"]


@settings
class Severities:
    """Whether an anomaly stops the span or is only logged, by kind.

    Attributes:
        schema: A value of the wrong type, outside its domain, missing too often, or an unknown column.
        drift: A distribution that differs from the previous span's, by the schema's drift comparators.
        skew: A distribution that differs from that of the burn-in, on which the features were fitted, by the
            schema's skew comparators.
    """

    schema: Severity = "stop"
    drift: Severity = "warn"
    skew: Severity = "warn"
