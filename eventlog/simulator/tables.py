"""The simulator's arrays as tables of the event log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from eventlog.rows import (
    DELAYED_TASKS,
    HISTORY,
    HISTORY_ENTITIES,
    IMMEDIATE_TASKS,
    LABEL_PREFIX,
    LOG_SCHEMA,
)
from eventlog.simulator.impressions import DAY_MS, FIRST_DAY_MS, HOUR_MS, Impressions
from eventlog.simulator.state import WorldState
from eventlog.simulator.world import ACTIVE_DEGREES, SURFACES, TOPICS, TRAIT_VALUES, UPLOAD_TYPES
from eventlog.totals import HistoryTotals

Array = Any

TRUTH_PREFIX = "true_"
TRUTH_SCHEMA = pa.schema(
    [
        pa.field("example_id", pa.string(), nullable=False),
        *(pa.field(TRUTH_PREFIX + task, pa.float32()) for task in IMMEDIATE_TASKS + DELAYED_TASKS),
    ]
)


def fresh_table(
    state: WorldState, shown: Impressions, outcomes: Mapping[str, Array], history: HistoryTotals
) -> pa.Table:
    """The fresh rows of the span that `state` stands at.

    Args:
        state: the world on that day.
        shown: the span's impressions.
        outcomes: per immediate task `[rows]` float32.
        history: totals of all spans before it.

    Returns:
        `[rows]`, LOG_SCHEMA; entity ids, surfaces and categories dictionary-encoded.
    """
    columns = {
        **_identity(state, shown),
        **{LABEL_PREFIX + task: pa.array(outcomes[task]) for task in IMMEDIATE_TASKS},
        **{LABEL_PREFIX + task: pa.nulls(len(shown), pa.float32()) for task in DELAYED_TASKS},
        **_user_features(state, shown),
        **_video_features(state, shown),
        **_history(state, shown, history),
    }
    return pa.table({name: columns[name] for name in LOG_SCHEMA.names})


def matured_table(fresh: pa.Table, ltv: Array) -> pa.Table:
    """The matured rows of a span's fresh rows: the same, but `label_ltv` is the only label.

    Args:
        fresh: the fresh rows.
        ltv: `[rows]` float32.
    """
    columns = {name: fresh[name] for name in fresh.column_names}
    columns.update({LABEL_PREFIX + task: pa.nulls(len(ltv), pa.float32()) for task in IMMEDIATE_TASKS})
    columns[LABEL_PREFIX + "ltv"] = pa.array(ltv)
    return pa.table(columns)


def truth_table(example_ids: pa.Array, truth: Mapping[str, Array]) -> pa.Table:
    """What is true of some rows: per task `true_<task>` `[rows]` float32, null where not named in `truth`."""
    columns = {"example_id": example_ids}
    for task in IMMEDIATE_TASKS + DELAYED_TASKS:
        absent = pa.nulls(len(example_ids), pa.float32())
        columns[TRUTH_PREFIX + task] = pa.array(truth[task]) if task in truth else absent
    return pa.table(columns, schema=TRUTH_SCHEMA)


def _identity(state: WorldState, shown: Impressions) -> dict[str, pa.Array]:
    number = len(shown)
    row = pc.cast(pa.array(np.arange(number)), pa.string())
    surfaces = pa.array([surface.name for surface in SURFACES])
    users = _encoded(shown.users, _names("u", len(state.users)))
    return {
        "example_id": pc.binary_join_element_wise(str(state.span), row, "-"),
        "event_time_ms": pa.array(FIRST_DAY_MS + state.span * DAY_MS + shown.milliseconds),
        "impression_span": pa.array(np.full(number, state.span)),
        "surface": _encoded(shown.surfaces, surfaces),
        "cluster_id": users,
        "user_id": users,
    }


def _user_features(state: WorldState, shown: Impressions) -> dict[str, pa.Array]:
    users, user = state.users, shown.users
    register_days = users.register_days + (state.span - users.arrival).astype(np.float32)
    return {
        "user_active_degree": _encoded(users.active_degree[user], pa.array(ACTIVE_DEGREES)),
        "user_traits": _trait_lists(users.traits[user]),
        "hour": pa.array(shown.milliseconds // HOUR_MS),
        "follow_user_num": _nullable(users.followed[user]),
        "fans_user_num": _nullable(users.fans[user]),
        "friend_user_num": _nullable(users.friends[user]),
        "register_days": _nullable(register_days[user]),
    }


def _video_features(state: WorldState, shown: Impressions) -> dict[str, pa.Array]:
    videos, video = state.videos, shown.videos
    duration = np.where(videos.duration_known, videos.duration, np.float32(np.nan))
    return {
        "video_id": _encoded(video, _names("v", len(videos))),
        "author_id": _encoded(videos.author[video], _names("a", len(state.authors))),
        "upload_type": _encoded(videos.upload_type[video], pa.array(UPLOAD_TYPES)),
        "tag": _tag_lists(videos.tags[video]),
        "duration_seconds": _nullable(duration[video]),
        "video_age_days": pa.array((state.span - videos.born).astype(np.float32)[video]),
    }


def _history(state: WorldState, shown: Impressions, history: HistoryTotals) -> dict[str, pa.Array]:
    priors = history.priors()
    codes = entity_codes(state, shown)
    sizes = {"user": len(state.users), "video": len(state.videos), "author": len(state.authors)}
    arrays = []
    for entity in HISTORY_ENTITIES:
        figures = history.entities[entity].all_figures(sizes[entity], priors)
        arrays += [pa.array(figure[codes[entity]]) for figure in figures]
    return dict(zip(HISTORY.names, arrays, strict=True))


def entity_codes(state: WorldState, shown: Impressions) -> dict[str, Array]:
    """Per entity kind `[rows]` int64, its index in each impression."""
    return {"user": shown.users, "video": shown.videos, "author": state.videos.author[shown.videos]}


def _trait_lists(traits: Array) -> pa.Array:
    """`[rows]` list of string, tokens such as "2=4", the unknown left out."""
    most = max(TRAIT_VALUES)
    tokens = [f"{trait}={value}" for trait in range(len(TRAIT_VALUES)) for value in range(most)]
    return _lists(traits + most * np.arange(len(TRAIT_VALUES), dtype=np.int32), traits >= 0, pa.array(tokens))


def _tag_lists(tags: Array) -> pa.Array:
    """`[rows]` list of string, the topics' numbers."""
    return _lists(tags, tags >= 0, pa.array([str(tag) for tag in range(TOPICS)]))


def _lists(codes: Array, known: Array, words: pa.Array) -> pa.Array:
    """`[rows]` list of string: of each row of `codes`, indices into `words`, those that are known."""
    offsets = np.concatenate([[0], np.cumsum(known.sum(axis=1))]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), words.take(pa.array(codes[known])))


def _encoded(codes: Array, words: pa.Array) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32)), words)


def _names(prefix: str, number: int) -> pa.Array:
    return pc.binary_join_element_wise(prefix, pc.cast(pa.array(np.arange(number)), pa.string()), "")


def _nullable(values: Array) -> pa.Array:
    return pa.array(values, from_pandas=True)
