"""Choice of the label set that a fleet reads for a span; the first student pins it for the fleet."""

from __future__ import annotations

from components.label_store.base import LabelSetRecord, LabelStore
from eventlog.errors import BadInput
from models.settings import Natural, settings


class UnusableLabels(BadInput):
    """The span has no label set, or only sets that are too old."""


@settings
class LabelSource:
    """Rule by which the first student of a fleet chooses a span's label set; the others read the pin.

    Attributes:
        teacher: Name of the teacher; None for the deployment's teacher.
        set_id: Id of one label set, for its span only; None for the newest set.
        max_age_spans: Largest number of spans that the teacher may be behind the labelled span; None for any.
    """

    teacher: str | None = None
    set_id: str | None = None
    max_age_spans: Natural | None = None


def pin_span(store: LabelStore, fleet: str, source: LabelSource, span: int) -> LabelSetRecord:
    """Returns the set that every student of a fleet reads for a span; pins it if the fleet has no pin yet.

    Args:
        store: The label store.
        fleet: Name of the fleet.
        source: Rule for the choice, if there is no pin yet.
        span: The span of the labelled examples.

    Raises:
        UnusableLabels: if no published set of the span satisfies `source`.
    """
    pinned = store.read_pin(fleet, span)
    if pinned is None:
        pinned = store.pin(fleet, span, _choose(store, source, span).set_id)
    return store.find_set(pinned)


def pinned_sets(store: LabelStore, fleet: str, spans: list[int]) -> list[LabelSetRecord]:
    """The sets that a fleet has pinned for earlier spans; spans without a pin are left out."""
    pins = [store.read_pin(fleet, span) for span in spans]
    return [store.find_set(pin) for pin in pins if pin is not None]


def _choose(store: LabelStore, source: LabelSource, span: int) -> LabelSetRecord:
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
            got="none", fix="Let the teacher label the span first.",
        )  # fmt: skip
    # Within a key, compare revisions: the clocks of two publishers may disagree.
    by_key = {record.key: record for record in sorted(sets, key=lambda record: record.revision)}
    newest = max(by_key.values(), key=lambda record: record.created_ms)
    age = newest.facts.label_age_spans
    if source.max_age_spans is not None and age > source.max_age_spans:
        raise UnusableLabels(
            "labels are too old", where=f"label set {newest.set_id}",
            expected=f"a teacher at most {source.max_age_spans} spans behind",
            got=f"one {age} spans behind", fix="Let a newer teacher label the span, or raise max_age_spans.",
        )  # fmt: skip
    return newest
