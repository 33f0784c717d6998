"""Chooses the label set that a fleet reads for a span, and pins it."""

from __future__ import annotations

from components.label_store.base import LabelSetRecord, LabelStore
from eventlog.errors import BadInput
from models.settings import Natural, settings


class UnusableLabels(BadInput):
    """The span has no matching label set, or the label age of the newest set is above `max_age_spans`."""


@settings
class LabelSource:
    """Rule by which the first student of a fleet chooses a span's label set. All other students read the pin.

    Attributes:
        teacher: Name of the teacher whose newest set is chosen. None: the deployment's own teacher.
        set_id: Id of the set to read; `teacher` is then ignored. A set id is valid for one span only. None:
            the teacher's newest set.
        max_age_spans: Maximum label age in spans. None: no maximum.
    """

    teacher: str | None = None
    set_id: str | None = None
    max_age_spans: Natural | None = None


def pin_span(store: LabelStore, fleet: str, source: LabelSource, span: int) -> LabelSetRecord:
    """Returns the record of the set that a fleet reads for a span; pins the set if the fleet has no pin yet.

    Args:
        store: The label store.
        fleet: Name of the fleet.
        source: Rule for the choice if there is no pin yet. The caller has replaced a `teacher` of None by the
            deployment's teacher.
        span: The labelled span.

    Raises:
        UnusableLabels: if no published set of the span satisfies `source`.
    """
    pinned = store.read_pin(fleet, span)
    if pinned is None:
        pinned = store.pin(fleet, span, _choose_set(store, source, span).set_id)
    return store.find_set(pinned)


def pinned_sets(store: LabelStore, fleet: str, spans: list[int]) -> list[LabelSetRecord]:
    """Returns the records of a fleet's pinned sets for these spans; leaves out spans without a pin."""
    pins = [store.read_pin(fleet, span) for span in spans]
    return [store.find_set(pin) for pin in pins if pin is not None]


def _choose_set(store: LabelStore, source: LabelSource, span: int) -> LabelSetRecord:
    sets = [record for record in store.list_sets() if record.key.span == span]
    if source.set_id is not None:
        sets = [record for record in sets if record.set_id == source.set_id]
        expected = f"set {source.set_id!r}"
    else:
        sets = [record for record in sets if record.key.teacher == source.teacher]
        expected = f"a set of teacher {source.teacher!r}"
    if not sets:
        raise UnusableLabels(
            "no label set", where=f"label store, span {span}", expected=expected,
            got="none", fix="Label the span first. If `set_id` names a set of another span, remove it.",
        )  # fmt: skip
    # Keep the highest revision of each key, not the latest publication: clocks of machines may differ. Then
    # choose the newest span version. Its sets differ by teacher version. Teacher versions have no order, so
    # choose the set that was published last.
    highest = {record.key: record for record in sorted(sets, key=lambda record: record.revision)}
    newest = max(highest.values(), key=lambda record: (record.key.span_version, record.created_ms))
    age = newest.facts.label_age_spans
    if source.max_age_spans is not None and age > source.max_age_spans:
        raise UnusableLabels(
            "labels are too old", where=f"label set {newest.set_id}",
            expected=f"a label age of at most {source.max_age_spans} spans",
            got=f"{age} spans", fix="Label the span with a newer teacher, or raise max_age_spans.",
        )  # fmt: skip
    return newest
