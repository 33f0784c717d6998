"""No history column of a row may depend on a label of the row's own span or of a later one.

The planted oracles are labels that a leak would reveal completely. Each test also shows that it would.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from components.history.lookup import add_history, open_lookup
from components.history.settings import History, ItemSequence, Window
from tests.components.history.small_log import complete, labelled, row, state_of, table_of, write_log

SPANS, USERS = 7, 40
HISTORIES = {
    "all": {},
    "window": {"window": Window(spans=3)},
    "half-life": {"window": Window(half_life=1.5)},
}


def history_of(kind: str) -> History:
    return History(
        entities={"user": "user", "item": "item"},
        tasks=("click", "back"),
        prior_strength=1.0,
        sequences={"recent": ItemSequence(entity="user", column="item", length=3)},
        **HISTORIES[kind],
    )


def random_spans(seed: int, first_changed: int = SPANS, changed_seed: int = 0) -> list[list[dict[str, Any]]]:
    """Fresh and matured rows with random labels; those from span `first_changed` on have another seed."""
    generators = [np.random.default_rng([seed, span]) for span in range(SPANS)]
    fresh = [
        [row(f"u{user}", f"i{random.integers(0, 9)}", 24 * span + user / 100, span) for user in range(USERS)]
        for span, random in enumerate(generators)
    ]
    spans = []
    for span in range(SPANS):
        random = np.random.default_rng([changed_seed if span >= first_changed else seed, 99, span])
        rows = labelled(fresh[span], click=list(random.integers(0, 2, USERS).astype(float)))
        if span >= 2:
            rows += labelled(fresh[span - 2], back=list(random.integers(0, 2, USERS).astype(float)))
        spans.append(rows)
    return spans


def columns_of(folder, spans, span: int, kind: str, as_of: int | None = None) -> pa.Table:
    """The history columns of the rows of a span; `as_of` shifts the rows to another span, as a leak would."""
    log = write_log(folder / "log", spans)
    rows = spans[span] if as_of is None else [one | {"impression_span": as_of} for one in spans[span]]
    impression_spans = sorted({one["impression_span"] for one in rows})
    state = complete(state_of(folder / "state", log, history_of(kind)), impression_spans)
    table = add_history(open_lookup(state, impression_spans), table_of(rows))
    return table.select(history_of(kind).produced.names)


@pytest.mark.parametrize("kind", HISTORIES)
def test_no_label_of_the_own_span_or_of_a_later_one_changes_a_bit(tmp_path, kind):
    span = 4
    before = columns_of(tmp_path / "before", random_spans(1), span, kind)
    own_changed = columns_of(
        tmp_path / "own", random_spans(1, first_changed=span, changed_seed=8), span, kind
    )
    assert own_changed.equals(before)
    earlier_changed = columns_of(
        tmp_path / "earlier", random_spans(1, first_changed=span - 1, changed_seed=8), span, kind
    )
    for name in ("history_user_click", "history_item_click", "history_user_back"):
        assert not earlier_changed[name].equals(before[name])


@pytest.mark.parametrize("kind", HISTORIES)
def test_rows_of_the_own_span_or_of_a_later_one_change_no_bit(tmp_path, kind):
    span, spans = 4, random_spans(1)
    before = columns_of(tmp_path / "before", spans, span, kind)
    extra = labelled(
        [row(f"u{user}", "new", 24 * span + 1, span, surface="other") for user in range(USERS)],
        click=[1.0] * USERS,
    )
    more = [*spans[:span], [*spans[span], *extra], *spans[span + 1 :]]
    assert columns_of(tmp_path / "more", more, span, kind).slice(0, before.num_rows).equals(before)
    assert columns_of(tmp_path / "fewer", spans[: span + 1], span, kind).equals(before)


@pytest.mark.parametrize("kind", HISTORIES)
def test_an_item_that_only_the_own_span_has_tells_nothing(tmp_path, kind):
    """Each item of a span has one label in all of its rows: a mean over the own span would reveal it."""
    random = np.random.default_rng(5)
    spans = []
    for span in range(4):
        rows = [
            row(f"u{user}", f"i{span}-{user % 10}", 24 * span + user / 100, span) for user in range(USERS)
        ]
        of_item = random.integers(0, 2, 10).astype(float)
        spans.append(labelled(rows, click=[of_item[user % 10] for user in range(USERS)]))
    labels = np.array([one["label_click"] for one in spans[3]])
    honest = columns_of(tmp_path / "honest", spans, 3, kind)
    assert len(set(honest["history_item_click"].to_pylist())) == 1
    assert set(honest["history_item_count"].to_pylist()) == {0.0}
    leaking = columns_of(tmp_path / "leaking", spans, 3, kind, as_of=4)["history_item_click"].to_numpy()
    assert leaking[labels == 1].min() > leaking[labels == 0].max()


@pytest.mark.parametrize("kind", HISTORIES)
def test_a_bit_that_only_later_spans_reveal_stays_unknown(tmp_path, kind):
    """Span 3 has a hidden bit of each user as its label; the spans after it repeat the bit."""
    bits = np.random.default_rng(6).integers(0, 2, USERS).astype(float)
    spans = random_spans(2)
    for span in range(3, SPANS):
        spans[span] = [
            one | {"label_click": bits[n]} if n < USERS else one for n, one in enumerate(spans[span])
        ]
    honest = columns_of(tmp_path / "honest", spans, 3, kind)
    flipped = [
        [one | {"label_click": 1 - bits[n]} if span >= 3 and n < USERS else one for n, one in enumerate(rows)]
        for span, rows in enumerate(spans)
    ]
    assert columns_of(tmp_path / "flipped", flipped, 3, kind).equals(honest)
    leaking = columns_of(tmp_path / "leaking", spans, 3, kind, as_of=SPANS)["history_user_click"].to_numpy()[
        :USERS
    ]
    assert leaking[bits == 1].min() > leaking[bits == 0].max()
