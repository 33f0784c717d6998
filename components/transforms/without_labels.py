"""Fallbacks of a surface whose soft labels for a span are missing, too old or too few."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence

from components.transforms.join_labels import JoinSoftLabels, join_span
from components.transforms.join_report import JoinReport, write_report
from components.transforms.shards import SPLITS, split_folder, write_records
from eventlog.errors import BadInput
from models.shard_names import shard_name

_LOG = logging.getLogger(__name__)


def too_few_labels(surface: str, coverage: float, floor: float) -> BadInput | None:
    """Returns the error if the coverage of a surface is below the floor, else None.

    Args:
        surface: name of the surface.
        coverage: coverage of the span, in [0, 1].
        floor: minimum coverage, in [0, 1].
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


def fall_back_to_hard_labels(
    join: JoinSoftLabels, reason: str, beam_options: Sequence[str], scratch: str
) -> JoinReport:
    """Writes the span's fresh rows without soft labels; the student trains on them like its control.

    Args:
        join: a join whose `set_ids` are only label sets of earlier spans. So matured rows still get the soft
            labels of their impressions' spans.
        reason: reason for the fallback, written to the report.
        beam_options: Beam's command line options.
        scratch: a folder that driver and workers share.
    """
    report = join_span(join, beam_options, scratch)
    return _write_decision(report, "hard-only", reason, join)


def fall_back_to_last_models(
    join: JoinSoftLabels, reason: str, beam_options: Sequence[str], scratch: str
) -> JoinReport:
    """Writes empty shards, so that no model trains on the span and the last models are kept.

    Args:
        join: a join whose `set_ids` have no label set of this span. Its row counts are written to the report.
        reason: reason for the fallback, written to the report.
        beam_options: Beam's command line options.
        scratch: a folder that driver and workers share.
    """
    report = join_span(join, beam_options, scratch)
    for split in SPLITS:
        for bucket in range(join.num_buckets):
            name = shard_name(join.span, bucket, join.num_buckets)
            write_records(f"{split_folder(join.output_uri, split)}/{name}", [])
    return _write_decision(report, "last", reason, join)


def _write_decision(report: JoinReport, decision: str, reason: str, join: JoinSoftLabels) -> JoinReport:
    report = dataclasses.replace(report, decision=decision, reason=reason)  # type: ignore[arg-type]
    write_report(report, join.output_uri, join.set_ids)
    _LOG.warning("span %d, surface %s: %s: %s", join.span, join.surface, decision, reason)
    return report
