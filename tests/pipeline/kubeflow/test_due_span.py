"""What a run on a cluster takes for its span."""

import dataclasses
import shutil
from pathlib import Path

import pytest

from components.label_store.base import LabelSetKey, SetFacts, SoftColumn
from components.label_store.schemes import open_store
from components.span_records import BOOTSTRAP, TEACHER, SpanRecord, read_record, write_record
from eventlog.errors import BadInput
from eventlog.spans import SUCCESS, span_folder, write_span
from pipeline.config_file import load_deployment
from pipeline.kubeflow.due_span import NEXT, find_due
from pipeline.paths import RunPaths
from tests.conftest import REPOSITORY

BRANCHES = ["teacher", "tab_1", "tab_0", "tab_4"]


@pytest.fixture
def deployment():
    return load_deployment(REPOSITORY / "pipeline" / "configs" / "kuairand.yaml")


@pytest.fixture
def paths(tmp_path):
    """The burn-in's three spans and two more; the bootstrap has been run."""
    paths = RunPaths(tmp_path / "root", tmp_path / "events", on_cluster=True)
    record(paths, BOOTSTRAP, 2)
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


def test_the_first_span_is_the_one_behind_the_burn_in_in_its_newest_version(deployment, paths):
    add_span(paths, 3, version=2)
    due = find_due(deployment, paths, [TEACHER], NEXT)
    assert (due.span, due.version) == (3, 2)


def test_a_run_may_ask_for_the_span_that_is_due_and_for_no_other(deployment, paths):
    assert find_due(deployment, paths, [TEACHER], 3).span == 3
    with pytest.raises(BadInput, match="not the span that is due: expected span 3, got span 4"):
        find_due(deployment, paths, [TEACHER], 4)


def test_when_all_is_run_nothing_is_due(deployment, paths):
    record(paths, TEACHER, 3, 4)
    with pytest.raises(BadInput, match="nothing is due"):
        find_due(deployment, paths, [TEACHER], NEXT)


def test_branches_that_are_not_at_one_span_are_not_run_together(deployment, paths):
    record(paths, TEACHER, 3)
    with pytest.raises(BadInput, match="branches apart"):
        find_due(deployment, paths, BRANCHES, NEXT)
    for surface in BRANCHES[1:]:
        record(paths, surface, 3)
    assert find_due(deployment, paths, BRANCHES, NEXT).span == 4


def test_a_late_span_is_recorded_as_skipped_and_passed_over(deployment, paths):
    patient = dataclasses.replace(
        deployment, validation=dataclasses.replace(deployment.validation, late_after_spans=1)
    )
    record(paths, TEACHER, 3)
    (span_folder(paths.events, 4) / SUCCESS).unlink()
    add_span(paths, 5)

    assert find_due(patient, paths, [TEACHER], NEXT).span == 5
    assert read_record(paths.records, TEACHER, 4).skipped.startswith("late: still missing")
    record(paths, "tab_1", 3)
    with pytest.raises(BadInput, match="span gap"):
        find_due(deployment, paths, ["tab_1"], NEXT)


def test_a_span_in_which_nothing_was_shown_is_skipped(deployment, paths):
    record(paths, TEACHER, 3, 4)
    write_span(paths.events, 5, [])
    add_span(paths, 6)

    assert find_due(deployment, paths, [TEACHER], NEXT).span == 6
    assert "empty span" in read_record(paths.records, TEACHER, 5).skipped


def test_before_the_bootstrap_nothing_is_run(deployment, paths):
    shutil.rmtree(Path(paths.records, BOOTSTRAP))
    with pytest.raises(BadInput, match="no bootstrap"):
        find_due(deployment, paths, [TEACHER], NEXT)


def test_a_student_waits_for_its_labels(deployment, paths):
    with pytest.raises(BadInput, match="no labels yet"):
        find_due(deployment, paths, ["tab_1"], NEXT)

    store = open_store(paths.label_store(deployment.label_store))
    key = LabelSetKey(teacher=deployment.teacher.name, teacher_version="v-00002", span=3)
    column = SoftColumn(kind="binary", link="sigmoid", unit="probability")
    facts = SetFacts(feature_version="f", label_age_spans=1, seconds=1.0)
    store.publish(store.stage(key, {"click": column}), [], facts)
    assert find_due(deployment, paths, ["tab_1"], NEXT).span == 3
