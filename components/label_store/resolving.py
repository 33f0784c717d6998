"""Which label set a fleet reads for a span: decided once, by whoever asks first."""

from __future__ import annotations

from components.label_store.base import LabelSetRecord, LabelStore
from eventlog.errors import BadInput
from models.settings import settings


class UnusableLabels(BadInput):
    """There is no label set for the span, or none that is young enough."""


@settings
class LabelSource:
    """By what rule the first student of a fleet chooses a span's set; the others go by its pin.

    Attributes:
        teacher: Whose labels; None for the deployment's own teacher.
        set_id: Exactly this set, of the one span it is a set of; None for the newest.
        max_age_spans: The teacher may be at most so many spans behind the span it labelled; None for any.
    """

    teacher: str | None = None
    set_id: str | None = None
    max_age_spans: int | None = None


def pin_span(store: LabelStore, fleet: str, source: LabelSource, span: int) -> LabelSetRecord:
    """The set that every student of the fleet reads for a span; the first to ask pins it.

    Args:
        store: Where the sets are.
        fleet: The students that must read the same bytes.
        source: How the first to ask chooses.
        span: Of the labelled examples.

    Raises:
        UnusableLabels: if no published set of that span is as the source wants it.
    """
    pinned = store.read_pin(fleet, span)
    if pinned is None:
        pinned = store.pin(fleet, span, _choose(store, source, span).set_id)
    return store.find_set(pinned)


def pinned_sets(store: LabelStore, fleet: str, spans: list[int]) -> list[LabelSetRecord]:
    """The fleet's sets of earlier spans, those alone that it has pinned."""
    pins = [store.read_pin(fleet, span) for span in spans]
    return [store.find_set(pin) for pin in pins if pin is not None]


def _choose(store: LabelStore, source: LabelSource, span: int) -> LabelSetRecord:
    sets = [record for record in store.list_sets() if record.key.span == span]
    if source.set_id is not None:
        sets = [record for record in sets if record.set_id == source.set_id]
        wanted = f"set {source.set_id!r}"
    else:
        sets = [record for record in sets if record.key.teacher == source.teacher]
        wanted = f"a set of teacher {source.teacher!r}"
    if not sets:
        raise UnusableLabels(
            "no label set", where=f"label store, span {span}", expected=wanted,
            got="none", fix="Let the teacher label the span first.",
        )  # fmt: skip
    # Within a key revisions tell what is newer, whatever the clocks of those who published them said.
    newest = {record.key: record for record in sorted(sets, key=lambda record: record.revision)}
    chosen = max(newest.values(), key=lambda record: record.created_ms)
    age = chosen.facts.label_age_spans
    if source.max_age_spans is not None and age > source.max_age_spans:
        raise UnusableLabels(
            "labels are too old", where=f"label set {chosen.set_id}",
            expected=f"a teacher at most {source.max_age_spans} spans behind",
            got=f"one {age} spans behind", fix="Let a newer teacher label the span, or raise max_age_spans.",
        )  # fmt: skip
    return chosen
