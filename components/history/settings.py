"""Declares the history features of a deployment, and names the columns that they add to rows."""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

from models.settings import Count, Positive, settings, to_json

COUNT = "count"
HISTORY_PREFIX = "history_"
"""Prefix of the columns of entities, which are never null. The columns of sequences may be null."""
ITEMS_TYPE = pa.list_(pa.string())
AGES_TYPE = pa.list_(pa.int64())
NUMBER_TYPE = pa.float32()
_NAME = re.compile(r"[a-z][a-z0-9_]*")


@settings
class Window:
    """How fast a history forgets; exactly one of the two keys is set.

    Attributes:
        spans: Number of spans in the history: those just before the row's span.
        half_life: A span's weight halves every `half_life` spans. The span just before the row's span has
            weight 1.
    """

    spans: Count | None = None
    half_life: Positive | None = None

    def __post_init__(self) -> None:
        if (self.spans is None) == (self.half_life is None):
            raise ValueError(
                f"a window has either spans or half_life, got spans {self.spans} and half_life "
                f"{self.half_life}. Remove the key window to count all earlier spans."
            )


@settings
class ItemSequence:
    """The last items of each entity of one kind, such as the last articles of a user.

    Attributes:
        entity: Name of the entity, a key of `history.entities`.
        column: Column of the event log with the item. A row where it is null adds no item.
        length: Largest number of items.
    """

    entity: str
    column: str
    length: Count


@settings
class History:
    """Features of each row that are computed from the log's earlier spans alone.

    For each entity: `history_<entity>_count`, the log1p of its number of impressions, and for each task
    `history_<entity>_<task>`, its smoothed mean label. For each sequence: `sequence_<name>`, the last items,
    newest first; `sequence_<name>_ages`, the age of each item in steps of powers of 2 (0: less than an hour,
    1: less than 3 hours, 2: less than 7); `sequence_<name>_hours`, the hours since the newest item. All rows
    count: those of every surface, and those of held-out clusters.

    Attributes:
        entities: Name → column of the event log with the id. Of a list, each distinct id counts once, and a
            row gets the mean over its ids.
        tasks: Tasks whose labels are averaged. The label of a delayed task counts from the span whose log
            brings it.
        window: How fast the history forgets. None: all earlier spans count equally. A window of spans also
            limits the sequences.
        prior_strength: Weight of the mean over all rows in a smoothed mean, as a number of labels.
        sequences: Name → sequence.
        shards: Number of files per entity and block. As many Beam workers can share the work. The number
            does not change the features.
    """

    entities: dict[str, str]
    tasks: tuple[str, ...] = ()
    window: Window | None = None
    prior_strength: Positive = 10.0
    sequences: dict[str, ItemSequence] = dataclasses.field(default_factory=dict)
    shards: Count = 4

    def __post_init__(self) -> None:
        """Checks the names.

        Raises:
            ValueError: if there is no entity; a sequence names an entity that is not declared; a name is not
                a lower-case letter and then lower-case letters, digits and `_`; or two columns have the same
                name.
        """
        if not self.entities:
            raise ValueError("history.entities must name at least one entity, got none. Add one.")
        for key, names in (("entities", self.entities), ("sequences", self.sequences)):
            for name in names:
                if not _NAME.fullmatch(name):
                    raise ValueError(
                        f"history.{key}: a name has lower-case letters, digits and _, and begins with a "
                        f"letter, got {name!r}. Rename it; the column may keep its name."
                    )
        for name, sequence in self.sequences.items():
            _require_declared(f"history.sequences.{name}.entity", sequence.entity, self.entities)
        columns = [field.name for field in self._fields()]
        for column in columns:
            if columns.count(column) > 1:
                raise ValueError(f"history produces the column {column} twice. Rename an entity or sequence.")

    def check_tasks(self, tasks: Iterable[str]) -> None:
        """Raises ValueError if a task of the history is not in `tasks`, those of the deployment."""
        for task in self.tasks:
            _require_declared("history.tasks", task, tasks)

    @property
    def produced(self) -> pa.Schema:
        """The columns that the history adds to a row; see the class for their meaning."""
        return pa.schema(self._fields())

    @property
    def log_columns(self) -> tuple[str, ...]:
        """The columns of the event log with ids and items, without repetition."""
        items = [sequence.column for sequence in self.sequences.values()]
        return tuple(dict.fromkeys([*self.entities.values(), *items]))

    def definitions(self) -> dict[str, Any]:
        """Produced column → the settings that determine its values; without `shards`."""
        definitions: dict[str, Any] = {}
        for entity, column in self.entities.items():
            for name in (COUNT, *self.tasks):
                strength = None if name == COUNT else self.prior_strength
                definitions[history_column(entity, name)] = (column, self.window, strength)
        for name, sequence in self.sequences.items():
            limit = self.window.spans if self.window else None
            for column in sequence_columns(name):
                definitions[column] = (self.entities[sequence.entity], sequence, limit)
        return definitions

    def fingerprint(self, delays: Mapping[str, int]) -> str:
        """12 hex digits of a hash of the settings that determine the files of the state."""
        stored = to_json(dataclasses.replace(self, prior_strength=1.0))
        task_delays = {task: delays[task] for task in self.tasks}
        return hashlib.sha256(f"{_FORMAT} {stored} {task_delays}".encode()).hexdigest()[:12]

    def sequences_of(self, entity: str) -> dict[str, ItemSequence]:
        """The sequences of one kind of entity."""
        return {name: sequence for name, sequence in self.sequences.items() if sequence.entity == entity}

    def _fields(self) -> list[pa.Field]:
        numbers = [
            pa.field(history_column(entity, name), NUMBER_TYPE)
            for entity in self.entities
            for name in (COUNT, *self.tasks)
        ]
        kinds = (ITEMS_TYPE, AGES_TYPE, NUMBER_TYPE)
        lists = [
            pa.field(column, kind)
            for name in self.sequences
            for column, kind in zip(sequence_columns(name), kinds, strict=True)
        ]
        return [*numbers, *lists]


_FORMAT = 1
"""Part of the fingerprint. Raise it when the files of the state change."""


@settings
class HistorySource:
    """The history of a run: its settings, its log and the folder of its state.

    Attributes:
        history: The settings.
        log: Folder of the event log.
        folder: Folder of the state, shared by all workers; see `components.history.state`.
    """

    history: History
    log: str
    folder: str


def history_column(entity: str, name: str) -> str:
    """The column of an entity's count (`name` is COUNT) or of its mean label of the task `name`."""
    return f"{HISTORY_PREFIX}{entity}_{name}"


def sequence_columns(name: str) -> tuple[str, str, str]:
    """The columns of a sequence: its items, their ages, and the hours since the newest item."""
    return f"sequence_{name}", f"sequence_{name}_ages", f"sequence_{name}_hours"


def _require_declared(key: str, name: str, declared: Iterable[str]) -> None:
    known = list(declared)
    if name not in known:
        close_names = difflib.get_close_matches(name, known, n=1)
        fix = f"did you mean {close_names[0]!r}?" if close_names else f"declared are {sorted(known)}."
        raise ValueError(f"{key} names {name!r}, which is not declared; {fix}")
