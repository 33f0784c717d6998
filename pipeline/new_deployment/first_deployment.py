"""The guesses about a table, from which `rankdistill init` writes its files."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.new_deployment.event_time import EventTime, SpanChoice
from pipeline.new_deployment.roles import Roles
from pipeline.new_deployment.table_profile import Profiles


@dataclass(frozen=True)
class FirstDeployment:
    """A table and the guesses about it.

    Attributes:
        name: name of the deployment.
        source: what `--from` gave: a file, a folder or a BigQuery table.
        is_folder: whether the source is a folder.
        profiles: the tables.
        time: the time of an impression.
        spans: the spans.
        roles: the roles of the columns.
        surface_sql: expression for the surface of a row; its values are safe names.
        surfaces: the largest surfaces of the sample, most rows first.
        unsure_surfaces: doubts about them.
    """

    name: str
    source: str
    is_folder: bool
    profiles: Profiles
    time: EventTime
    spans: SpanChoice
    roles: Roles
    surface_sql: str
    surfaces: tuple[str, ...]
    unsure_surfaces: tuple[str, ...] = ()

    @property
    def unsure(self) -> list[str]:
        """What the guesses may have wrong, a sentence each."""
        zone = "time: the times have no offset, so UTC is assumed; name their zone, such as Europe/Berlin"
        formats = f"{self.time.other_format} fits as well as {self.time.format}"
        other = f"time: {formats}; check `format` of the time in mapping.yaml"
        return [
            *([zone] if self.time.zone and not self.time.has_offset else []),
            *([other] if self.time.other_format else []),
            *self.unsure_surfaces,
            *self.roles.unsure,
        ]

    @property
    def history_entities(self) -> dict[str, str]:
        """`user` and `item` → the feature with the id."""
        columns = {"user": self.roles.user, "item": self.roles.item}
        return {
            entity: feature.name
            for entity, column in columns.items()
            for feature in self.roles.features
            if column is not None and feature.column is column and feature.kind == "id"
        }

    @property
    def burn_in_end(self) -> int:
        """The last span of the burn-in: about a third of all spans."""
        return max(0, self.spans.num_spans // 3 - 1)

    @property
    def last_span(self) -> int:
        """The last span of the table, but at least the first span after the burn-in."""
        return max(self.spans.num_spans - 1, self.burn_in_end + 1)
