import dataclasses

import pyarrow as pa
import pytest

from components.history.settings import History, ItemSequence, Window

RECENT = ItemSequence(entity="user", column="artikel", length=3)


def test_the_columns_are_named_by_entity_task_and_sequence():
    history = History(
        entities={"user": "kundennummer"},
        tasks=("gekauft",),
        sequences={"recent": RECENT},
        prior_strength=1.0,
    )
    assert history.produced == pa.schema(
        {
            "history_user_count": pa.float32(),
            "history_user_gekauft": pa.float32(),
            "sequence_recent": pa.list_(pa.string()),
            "sequence_recent_ages": pa.list_(pa.int64()),
            "sequence_recent_hours": pa.float32(),
        }
    )
    assert history.log_columns == ("kundennummer", "artikel")
    assert history.definitions().keys() == set(history.produced.names)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"entities": {}}, "history.entities must name at least one entity, got none"),
        ({"entities": {"User-1": "u"}}, "begins with a letter, got 'User-1'"),
        (
            {"entities": {"user": "u"}, "sequences": {"re cent": RECENT}},
            r"history.sequences: .* got 're cent'",
        ),
        (
            {"entities": {"usr": "u"}, "sequences": {"recent": RECENT}},
            "history.sequences.recent.entity names 'user', which is not declared; did you mean 'usr'",
        ),
        ({"entities": {"user": "u"}, "tasks": ("count",)}, "the column history_user_count twice"),
        ({"entities": {"user": "u", "user_a": "a"}, "tasks": ("a_b", "b")}, "history_user_a_b twice"),
    ],
)
def test_names_that_cannot_be_columns_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        History(**settings)


@pytest.mark.parametrize("settings", [{}, {"spans": 3, "half_life": 2.0}])
def test_a_window_has_either_spans_or_a_half_life(settings):
    with pytest.raises(ValueError, match="a window has either spans or half_life"):
        Window(**settings)


@pytest.mark.parametrize(
    "settings", [{"spans": 0}, {"half_life": 0.0}, {"half_life": float("inf")}, {"half_life": float("nan")}]
)
def test_a_window_is_positive_and_finite(settings):
    with pytest.raises(ValueError, match=r"greater than|finite"):
        Window(**settings)


def test_a_task_that_the_deployment_lacks_is_refused():
    history = History(entities={"user": "u"}, tasks=("gekaut",))
    with pytest.raises(ValueError, match=r"history.tasks names 'gekaut', .* did you mean 'gekauft'"):
        history.check_tasks(["gekauft", "retoure"])


def test_only_settings_that_change_a_column_change_its_definition():
    history = History(entities={"user": "u"}, tasks=("a",), sequences={"recent": RECENT})
    own = history.definitions()

    def changed(**settings):
        other = dataclasses.replace(history, **settings).definitions()
        return {name for name in own.keys() | other.keys() if own.get(name) != other.get(name)}

    sequence = {"sequence_recent", "sequence_recent_ages", "sequence_recent_hours"}
    assert changed(shards=9) == set()
    assert changed(prior_strength=3.0) == {"history_user_a"}
    assert changed(tasks=("a", "b")) == {"history_user_b"}
    assert changed(window=Window(half_life=2.0)) == {"history_user_count", "history_user_a"}
    assert changed(window=Window(spans=2)) == {"history_user_count", "history_user_a"} | sequence
    assert changed(sequences={"recent": dataclasses.replace(RECENT, length=4)}) == sequence
    assert changed(entities={"user": "v"}) == set(own)
