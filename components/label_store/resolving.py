"""Which label set a fleet reads for a span: decided once, by whoever asks first."""

from __future__ import annotations

from components.label_store.base import LabelSetRecord, LabelStore
from eventlog.errors import BadInput


def pin_span(store: LabelStore, fleet: str, teacher: str, span: int) -> LabelSetRecord:
    """The set that every student of the fleet reads for a span; the first to ask pins the newest.

    Args:
        store: Where the sets are.
        fleet: The students that must read the same bytes.
        teacher: Whose labels.
        span: Of the labelled examples.

    Raises:
        BadInput: if the teacher has no published set of that span.
    """
    pinned = store.read_pin(fleet, span)
    if pinned is None:
        sets = [
            record for record in store.list_sets() if (record.key.teacher, record.key.span) == (teacher, span)
        ]
        if not sets:
            raise BadInput(
                "no label set", where=f"label store, span {span}", expected=f"a set of teacher {teacher!r}",
                got="none", fix="Let the teacher label the span first.",
            )  # fmt: skip
        pinned = store.pin(fleet, span, max(sets, key=lambda record: record.created_ms).set_id)
    return store.find_set(pinned)


def pinned_sets(store: LabelStore, fleet: str, spans: list[int]) -> list[LabelSetRecord]:
    """The fleet's sets of earlier spans, those alone that it has pinned."""
    pins = [store.read_pin(fleet, span) for span in spans]
    return [store.find_set(pin) for pin in pins if pin is not None]
