"""What a surface does with a span whose soft labels cannot be used: missing, too old, or too few."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence

from components.transforms.join_labels import JoinReport, JoinSoftLabels, join_span, write_report
from components.transforms.shards import SPLITS, shard_name, split_folder, write_records
from eventlog.errors import BadInput

_LOG = logging.getLogger(__name__)


def too_few_labels(surface: str, coverage: float, floor: float) -> BadInput | None:
    """The error of a surface of whose fresh examples less than the floor has a soft label; else None.

    Args:
        surface: the surface.
        coverage: labelled share of its fresh examples, in [0, 1].
        floor: the least that is acceptable, in [0, 1].
    """
    if coverage >= floor:
        return None
    return BadInput(
        "too few examples have a soft label",
        where=f"surface {surface}",
        expected=f"coverage of at least {floor:.4f}",
        got=f"{coverage:.4f}",
        fix="Publish the missing labels, or set the surface's without_labels to hard-only or last.",
    )


def learn_hard_labels(
    join: JoinSoftLabels, reason: str, beam_options: Sequence[str], scratch: str
) -> JoinReport:
    """Lets the span's examples through without soft labels: the student learns what its control learns.

    Args:
        join: without the span's own set; matured rows keep the labels that were published for their span.
        reason: for the report.
        beam_options: Beam's command line options.
        scratch: a folder that driver and workers share.
    """
    report = join_span(join, beam_options, scratch)
    return _decided(report, "hard-only", reason, join)


def keep_last_models(
    join: JoinSoftLabels, reason: str, beam_options: Sequence[str], scratch: str
) -> JoinReport:
    """Lets no example through: nothing is learnt of the span, and the last models stay.

    Args:
        join: without the span's own set; it counts the rows, which the report keeps.
        reason: for the report.
        beam_options: Beam's command line options.
        scratch: a folder that driver and workers share.
    """
    report = join_span(join, beam_options, scratch)
    for split in SPLITS:
        for bucket in range(join.num_buckets):
            name = shard_name(join.span, bucket, join.num_buckets)
            write_records(f"{split_folder(join.output_uri, split)}/{name}", [])
    return _decided(report, "last", reason, join)


def _decided(report: JoinReport, decision: str, reason: str, join: JoinSoftLabels) -> JoinReport:
    decided = dataclasses.replace(report, decision=decision, reason=reason)  # type: ignore[arg-type]
    write_report(decided, join.output_uri, join.set_ids)
    _LOG.warning("span %d, surface %s: %s: %s", join.span, join.surface, decision, reason)
    return decided
