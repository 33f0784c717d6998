"""Choice of a fleet's label set, and stability of its pins."""

from __future__ import annotations

import pytest

from components.label_store.resolving import LabelSource, pin_span, pinned_sets
from components.label_store.schemes import open_store
from eventlog.errors import BadInput

BIG = LabelSource(teacher="big")


@pytest.fixture
def store(tmp_path):
    """One backend suffices: the contract suite tests pins on all backends."""
    return open_store(f"delta:{tmp_path}/labels")


@pytest.fixture
def publish(store, labels):
    """Publishes a set of one label; a second set of a span is a newer revision."""

    def publish_set(span: int = 3, teacher: str = "big"):
        table = labels.make_table(["a"], [0.5])
        return labels.publish(store, labels.make_key(span, teacher), table, supersede=True)

    return publish_set


def test_the_first_student_pins_the_newest_set_of_the_span(store, publish):
    older, newer = publish(), publish()
    publish(span=4)

    assert pin_span(store, "phones", BIG, 3) == newer != older
    assert (store.read_pin("phones", 3), store.read_pin("phones", 4)) == (newer.set_id, None)


def test_later_students_read_the_pinned_set_even_if_a_newer_one_is_published(store, publish):
    pinned = publish()
    pin_span(store, "phones", BIG, 3)
    newer = publish()

    assert pin_span(store, "phones", BIG, 3) == pinned
    assert pin_span(store, "tablets", BIG, 3) == newer, "another fleet has its own pin"


def test_a_set_of_another_teacher_is_not_chosen(store, publish):
    big = publish()
    publish(teacher="wide")

    assert pin_span(store, "phones", BIG, 3) == big


def test_without_a_set_of_the_teacher_and_span_nothing_is_pinned(store, publish):
    publish(span=2)
    publish(teacher="wide")

    with pytest.raises(
        BadInput,
        match=r"label store, span 3: no label set: expected a set of teacher 'big', got none\. Label the",
    ):
        pin_span(store, "phones", BIG, 3)
    assert store.read_pin("phones", 3) is None


def test_earlier_spans_without_a_pin_are_left_out(store, publish):
    records = {span: publish(span) for span in (1, 2, 3)}
    for span in (3, 1):
        pin_span(store, "phones", BIG, span)
    newer = publish(1)

    assert pinned_sets(store, "phones", [0, 1, 2, 3]) == [records[1], records[3]]
    assert newer not in pinned_sets(store, "phones", [1])
    assert pinned_sets(store, "tablets", [1, 2]) == []


def test_a_set_id_is_chosen_even_if_a_newer_set_exists(store, publish):
    older, _ = publish(), publish()

    assert pin_span(store, "phones", LabelSource(set_id=older.set_id), 3) == older
    with pytest.raises(BadInput, match=f"span 4: no label set: expected set '{older.set_id}', got none"):
        pin_span(store, "phones", LabelSource(set_id=older.set_id), 4)


def test_labels_of_a_teacher_too_far_behind_are_refused(store, publish):
    record = publish()

    with pytest.raises(BadInput, match="expected a label age of at most 0 spans, got 1 spans"):
        pin_span(store, "phones", LabelSource(teacher="big", max_age_spans=0), 3)
    assert store.read_pin("phones", 3) is None
    assert pin_span(store, "phones", LabelSource(teacher="big", max_age_spans=1), 3) == record


def test_a_surface_that_moves_to_another_teacher_and_back_finds_its_old_pins(store, publish):
    big, wide = publish(), publish(teacher="wide")
    newer = publish()

    assert pin_span(store, "phones", BIG, 3) == newer
    assert pin_span(store, "phones-wide", LabelSource(teacher="wide"), 3) == wide
    publish()
    assert pin_span(store, "phones", BIG, 3) == newer != big
