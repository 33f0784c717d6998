"""Kinds of anomaly that SpanValidator finds: their severities, and anomalies as text."""

from __future__ import annotations

import dataclasses
from typing import Literal

from tensorflow_metadata.proto.v0 import anomalies_pb2

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


_KINDS = tuple(field.name for field in dataclasses.fields(Severities))


def anomaly_lines(anomalies: anomalies_pb2.Anomalies) -> dict[str, list[str]]:
    """Kind of anomaly (`schema`, `drift`, `skew`) -> one line per anomaly."""
    lines: dict[str, list[str]] = {kind: [] for kind in _KINDS}
    for name, info in sorted(anomalies.anomaly_info.items()):
        for reason in info.reason:
            kind = _kind(reason)
            lines[kind].append(f"{name}: {reason.short_description}: {' '.join(reason.description.split())}")
    if anomalies.data_missing:
        lines["schema"].append("no examples at all")
    return lines


def _kind(reason: anomalies_pb2.AnomalyInfo.Reason) -> str:
    if not anomalies_pb2.AnomalyInfo.Type.Name(reason.type).startswith("COMPARATOR_"):
        return "schema"
    # Only the description tells a comparison with serving data from one with the previous span.
    return "skew" if "serving" in reason.description else "drift"
