"""Kinds of anomalies that SpanValidator finds, their severities, and their text."""

from __future__ import annotations

import dataclasses
from typing import Literal

from tensorflow_metadata.proto.v0 import anomalies_pb2

from models.settings import settings

Severity = Literal["stop", "warn"]


@settings
class Severities:
    """Severity of each kind of anomaly: `stop` stops the span, `warn` only logs the anomaly.

    Attributes:
        schema: A value has the wrong type or is outside its domain; or a column is unknown, or missing in too
            many rows.
        drift: A distribution differs from that of the previous span (limits: the schema's drift comparators).
        skew: A distribution differs from that of the burn-in, on which the transform graph was fitted
            (limits: the schema's skew comparators).
    """

    schema: Severity = "stop"
    drift: Severity = "warn"
    skew: Severity = "warn"


_KINDS = tuple(field.name for field in dataclasses.fields(Severities))


def anomaly_lines(anomalies: anomalies_pb2.Anomalies) -> dict[str, list[str]]:
    """Returns kind of anomaly (`schema`, `drift`, `skew`) -> one line per anomaly."""
    lines: dict[str, list[str]] = {kind: [] for kind in _KINDS}
    for name, info in sorted(anomalies.anomaly_info.items()):
        for reason in info.reason:
            kind = _kind(reason)
            lines[kind].append(f"{name}: {reason.short_description}: {' '.join(reason.description.split())}")
    if anomalies.data_missing:
        lines["schema"].append("the span has no examples")
    return lines


def _kind(reason: anomalies_pb2.AnomalyInfo.Reason) -> str:
    if not anomalies_pb2.AnomalyInfo.Type.Name(reason.type).startswith("COMPARATOR_"):
        return "schema"
    # Skew and drift have the same type. SpanValidator passes the burn-in as TFDV's serving statistics, so
    # only the description of a skew contains "serving".
    return "skew" if "serving" in reason.description else "drift"
