import dataclasses
import os
import shutil
import time
from pathlib import Path

import pytest

from components.label_store.base import LabelSetKey, SetFacts, SoftColumn
from components.label_store.schemes import open_store
from components.span_records import TEACHER, SpanRecord, surface_burn_in, write_record
from eventlog.errors import BadInput
from eventlog.spans import SUCCESS, span_folder
from pipeline.config_file import load_deployment
from pipeline.driver.due_spans import (
    SpanToRun,
    begins_without_burn_in,
    find_next_span,
    find_next_spans,
    labels_are_ready,
    span_of_rename,
)
from pipeline.driver.log_checks import InputNotReady, require_spans
from pipeline.paths import RunPaths

SURFACES = ("tab_1", "tab_0", "tab_4")
ALL = (TEACHER, *SURFACES)


@pytest.fixture
def deployment():
    return load_deployment(Path(__file__).parents[3] / "pipeline" / "configs" / "kuairand.yaml")


@pytest.fixture
def paths(tmp_path):
    """A root whose log has ten complete, empty spans."""
    for span in range(10):
        complete(tmp_path / "events", span)
    return RunPaths(root=tmp_path / "root", events=tmp_path / "events")


def complete(log, span, version=0):
    folder = span_folder(log, span, version)
    folder.mkdir(parents=True)
    (folder / SUCCESS).touch()


def finish(paths, span, branches=ALL):
    for branch in branches:
        write_record(paths.records, branch, SpanRecord(span=span))


def late_after(deployment, spans):
    validation = dataclasses.replace(deployment.validation, late_after_spans=spans)
    return dataclasses.replace(deployment, validation=validation)


def with_surface(deployment, **changes):
    surface = dataclasses.replace(deployment.surfaces["tab_1"], **changes)
    return dataclasses.replace(deployment, surfaces=deployment.surfaces | {"tab_1": surface})


def test_the_first_span_follows_the_burn_in(deployment, paths):
    assert find_next_span(deployment, paths, ALL, None) == SpanToRun(5, 0, ALL, False)


def test_a_finished_span_is_not_run_again(deployment, paths):
    finish(paths, 5)

    assert find_next_span(deployment, paths, ALL, None).span == 6


def test_only_the_branches_that_lack_a_span_run_it(deployment, paths):
    finish(paths, 5, [TEACHER, "tab_0"])

    assert find_next_span(deployment, paths, ALL, None) == SpanToRun(5, 0, ("tab_1", "tab_4"), False)


def test_no_span_is_left_at_the_end_of_the_log_or_of_the_requested_range(deployment, paths):
    for span in range(5, 10):
        finish(paths, span)
        assert (find_next_span(deployment, paths, ALL, range(5, 8)) is None) == (span >= 7)

    assert find_next_span(deployment, paths, ALL, None) is None


def test_a_range_that_would_leave_a_gap_is_refused(deployment, paths):
    with pytest.raises(BadInput, match=r"--spans 6:7: span gap: expected a range from span 5 .*, got 6"):
        find_next_span(deployment, paths, ALL, range(6, 8))


def test_a_range_beyond_the_log_is_refused(paths):
    with pytest.raises(InputNotReady, match=r"needs span 10: expected spans 8 to 10, got spans 0 to 9"):
        require_spans(paths.events, range(8, 11), "--spans")


def test_a_span_revised_before_its_run_is_run_in_its_newest_version(deployment, paths):
    complete(paths.events, 5, version=2)

    assert find_next_span(deployment, paths, ALL, None).version == 2


def test_a_missing_span_is_not_ready_and_the_error_names_the_first_of_a_gap(deployment, paths):
    shutil.rmtree(paths.events / "span=5")

    with pytest.raises(InputNotReady, match="span gap: expected span 5 before later ones, got 4 later spans"):
        find_next_span(deployment, paths, ALL, None)


def test_a_missing_span_is_late_when_enough_later_ones_are_complete(deployment, paths):
    shutil.rmtree(paths.events / "span=5")

    assert find_next_span(late_after(deployment, 4), paths, ALL, None) == SpanToRun(5, 0, ALL, True)
    with pytest.raises(InputNotReady, match="span gap"):
        find_next_span(late_after(deployment, 5), paths, ALL, None)


def test_the_next_spans_are_those_to_skip_and_one_to_run(deployment, paths):
    assert find_next_spans(deployment, paths, ALL) == range(5, 6)
    for span in (5, 6):
        shutil.rmtree(span_folder(paths.events, span))
    with pytest.raises(InputNotReady):
        find_next_spans(deployment, paths, ALL)
    assert find_next_spans(late_after(deployment, 2), paths, ALL) == range(5, 8)
    finish(paths, 9)
    assert not find_next_spans(deployment, paths, ALL)


def test_a_new_surface_starts_with_its_first_spans(deployment, paths):
    for span in range(5, 10):
        finish(paths, span, [TEACHER, "tab_0", "tab_4"])
    later = with_surface(deployment, first_spans="7:8")

    assert find_next_span(deployment, paths, ALL, None) == SpanToRun(5, 0, ("tab_1",), False)
    assert find_next_span(later, paths, ALL, None) == SpanToRun(7, 0, ("tab_1",), False)


def test_surfaces_apart_from_the_teacher_wait_for_their_labels_for_a_limited_time(
    deployment, paths, monkeypatch
):
    due = find_next_span(deployment, paths, SURFACES, None)
    an_hour = 3600
    path = span_folder(paths.events, 5) / SUCCESS
    os.utime(path, (path.stat().st_mtime - an_hour,) * 2)
    assert not labels_are_ready(deployment, paths, due), "an old span that has just arrived"

    in_an_hour = time.time() + an_hour
    monkeypatch.setattr("pipeline.driver.due_spans.time.time", lambda: in_an_hour)
    assert labels_are_ready(deployment, paths, due)
    patient = with_surface(deployment, label_wait_seconds=2.0 * an_hour)
    assert not labels_are_ready(patient, paths, due)

    publish(patient, paths, 4)
    assert not labels_are_ready(patient, paths, due)
    publish(patient, paths, 5)
    assert labels_are_ready(patient, paths, due)
    shutil.copytree(span_folder(paths.events, 5), span_folder(paths.events, 5, 1))
    assert not labels_are_ready(patient, paths, dataclasses.replace(due, version=1)), "labels of version 0"


def test_only_a_new_surface_without_burn_in_begins_without_one(deployment, paths):
    without = with_surface(deployment, burn_in=False)
    assert begins_without_burn_in(without, paths, "tab_1")
    assert not begins_without_burn_in(without, paths, "tab_0")
    assert not begins_without_burn_in(without, paths, TEACHER)
    finish(paths, 5)
    assert not begins_without_burn_in(without, paths, "tab_1")


def publish(deployment, paths, span):
    store = open_store(paths.label_store(deployment.label_store))
    column = SoftColumn(kind="binary", link="sigmoid", unit="probability")
    key = LabelSetKey(teacher=deployment.teacher.name, teacher_version="7", span=span)
    facts = SetFacts(feature_version="f", label_age_spans=1, seconds=1.0)
    store.publish(store.stage(key, {"click": column}), [], facts)


def test_a_renamed_surface_goes_on_after_the_last_span_of_its_earlier_name(deployment, paths):
    renamed = with_surface(deployment, was="front", burn_in=False)
    assert span_of_rename(renamed, paths, "tab_1") is None, "no surface has run yet"
    finish(paths, 7, [surface_burn_in("front")])
    finish(paths, 8, ["tab_0"])
    assert span_of_rename(renamed, paths, "tab_1") == 7, "it has run its burn-in only"
    finish(paths, 8, ["front"])
    assert span_of_rename(renamed, paths, "tab_1") == 8
    assert find_next_span(renamed, paths, ["tab_1"], None).span == 9
    finish(paths, 8, [surface_burn_in("tab_1")])
    assert span_of_rename(renamed, paths, "tab_1") is None
    assert not begins_without_burn_in(renamed, paths, "tab_1"), "its first span is not the first of the log"
    assert find_next_span(renamed, paths, ["tab_1"], None).span == 9
