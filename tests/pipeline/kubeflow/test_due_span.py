"""The span that a run on a cluster chooses."""

import dataclasses
import shutil
from pathlib import Path

import pytest

from components.label_store.base import LabelSetKey, SetFacts, SoftColumn
from components.label_store.schemes import open_store
from components.span_records import (
    BURN_IN,
    TEACHER,
    SpanRecord,
    read_record,
    surface_burn_in,
    write_record,
)
from eventlog.errors import BadInput
from eventlog.kuairand.columns import LOG_SCHEMA
from eventlog.spans import SUCCESS, span_folder, write_span
from pipeline.config_file import load_deployment
from pipeline.kubeflow.due_span import NEXT_SPAN, find_due_span
from pipeline.paths import RunPaths
from tests.conftest import REPOSITORY

BRANCHES = ("teacher", "tab_1", "tab_0", "tab_4")


@pytest.fixture
def deployment():
    shipped = load_deployment(REPOSITORY / "pipeline" / "configs" / "kuairand.yaml")
    return dataclasses.replace(shipped, burn_in="0:2")


@pytest.fixture
def paths(tmp_path):
    """An event log of the burn-in's three spans and two more; all burn-ins have been run."""
    paths = RunPaths(tmp_path / "root", tmp_path / "events", on_cluster=True)
    record(paths, BURN_IN, 2)
    for surface in BRANCHES[1:]:
        record(paths, surface_burn_in(surface), 2)
    for span in range(5):
        add_span(paths, span)
    return paths


def add_span(paths, span, version=0):
    folder = span_folder(paths.events, span, version)
    folder.mkdir(parents=True)
    (folder / SUCCESS).touch()


def record(paths, branch, *spans):
    for span in spans:
        write_record(paths.records, branch, SpanRecord(span=span))


def test_the_first_span_follows_the_burn_in_in_its_newest_version(deployment, paths):
    add_span(paths, 3, version=2)
    due = find_due_span(deployment, paths, (TEACHER,), NEXT_SPAN)
    assert (due.span, due.version) == (3, 2)


def test_only_the_due_span_can_be_requested(deployment, paths):
    assert find_due_span(deployment, paths, (TEACHER,), 3).span == 3
    with pytest.raises(BadInput, match="span is not due: expected span 3, got span 4"):
        find_due_span(deployment, paths, (TEACHER,), 4)


def test_nothing_is_due_when_every_span_has_been_run(deployment, paths):
    record(paths, TEACHER, 3, 4)
    with pytest.raises(BadInput, match="no span is due"):
        find_due_span(deployment, paths, (TEACHER,), NEXT_SPAN)


def test_branches_at_different_spans_are_not_run_together(deployment, paths):
    record(paths, TEACHER, 3)
    with pytest.raises(BadInput, match=r"branches at different spans: .* got only tab_1, tab_0, tab_4"):
        find_due_span(deployment, paths, BRANCHES, NEXT_SPAN)
    for surface in BRANCHES[1:]:
        record(paths, surface, 3)
    assert find_due_span(deployment, paths, BRANCHES, NEXT_SPAN).span == 4


def test_a_late_span_is_recorded_as_skipped(deployment, paths):
    with_limit = dataclasses.replace(
        deployment, validation=dataclasses.replace(deployment.validation, late_after_spans=1)
    )
    record(paths, TEACHER, 3)
    (span_folder(paths.events, 4) / SUCCESS).unlink()
    add_span(paths, 5)

    assert find_due_span(with_limit, paths, (TEACHER,), NEXT_SPAN).span == 5
    assert read_record(paths.records, TEACHER, 4).skipped.startswith("late: still missing")
    record(paths, "tab_1", 3)
    with pytest.raises(BadInput, match="span gap"):
        find_due_span(deployment, paths, ("tab_1",), NEXT_SPAN)


def test_an_empty_span_is_recorded_as_skipped(deployment, paths):
    record(paths, TEACHER, 3, 4)
    write_span(paths.events, 5, [], schema=LOG_SCHEMA)
    add_span(paths, 6)

    assert find_due_span(deployment, paths, (TEACHER,), NEXT_SPAN).span == 6
    assert "empty span" in read_record(paths.records, TEACHER, 5).skipped


def test_no_span_runs_before_the_burn_in(deployment, paths):
    shutil.rmtree(Path(paths.records, BURN_IN))
    with pytest.raises(BadInput, match="no burn-in: expected a finished run"):
        find_due_span(deployment, paths, (TEACHER,), NEXT_SPAN)


def test_a_configuration_that_does_not_fit_the_root_is_refused(deployment, paths):
    write_record(paths.records, BURN_IN, SpanRecord(span=2, slots={TEACHER: "T"}))
    find_due_span(deployment, paths, (TEACHER,), NEXT_SPAN)
    teacher = dataclasses.replace(deployment.teacher, name="bigger")
    with pytest.raises(BadInput, match=r"teacher\.name 'bigger' instead of 'history-2x' needs a new teacher"):
        find_due_span(dataclasses.replace(deployment, teacher=teacher), paths, (TEACHER,), NEXT_SPAN)


def test_no_student_runs_before_its_own_burn_in_unless_it_has_none(deployment, paths):
    shutil.rmtree(Path(paths.records, surface_burn_in("tab_0")))
    find_due_span(deployment, paths, (TEACHER,), NEXT_SPAN)
    with pytest.raises(BadInput, match=r"no burn-in of tab_0: .* Run burn-in-tab_0\.yaml"):
        find_due_span(deployment, paths, BRANCHES, NEXT_SPAN)
    without = dataclasses.replace(deployment.surfaces["tab_0"], burn_in=False)
    surfaces = deployment.surfaces | {"tab_0": without}
    assert (
        find_due_span(dataclasses.replace(deployment, surfaces=surfaces), paths, BRANCHES, NEXT_SPAN).span
        == 3
    )


def test_a_student_waits_for_its_labels(deployment, paths):
    with pytest.raises(BadInput, match="no labels yet"):
        find_due_span(deployment, paths, ("tab_1",), NEXT_SPAN)

    store = open_store(paths.label_store(deployment.label_store))
    key = LabelSetKey(teacher=deployment.teacher.name, teacher_version="v-00002", span=3)
    column = SoftColumn(kind="binary", link="sigmoid", unit="probability")
    facts = SetFacts(feature_version="f", label_age_spans=1, seconds=1.0)
    store.publish(store.stage(key, {"click": column}), [], facts)
    assert find_due_span(deployment, paths, ("tab_1",), NEXT_SPAN).span == 3
