import dataclasses

import pytest
from ml_metadata import metadata_store
from ml_metadata.proto import metadata_store_pb2 as proto

from components.label_store.base import LabelSetKey, SetFacts, SoftColumn
from components.label_store.schemes import open_store
from components.span_records import TEACHER
from pipeline.observation.finished_spans import finished_spans
from pipeline.observation.freshness import Freshness, measure_freshness, next_span, percentiles, spans_behind
from tests.pipeline.conftest import certificate_files

STAGES = {
    "event_to_ready": None,
    "ready_to_labelled": None,
    "labelled_to_published": None,
    "published_to_trained": None,
    "trained_to_pushed": None,
    "event_to_pushed": None,
}
CLICK = {"click": SoftColumn(kind="binary", link="sigmoid", unit="clicks")}


class Steps:
    """The MLMD of a run, with the contexts that LocalRunner gives each execution."""

    def __init__(self, run):
        run.paths.root.mkdir(parents=True, exist_ok=True)
        config = proto.ConnectionConfig()
        config.sqlite.filename_uri = run.paths.metadata
        config.sqlite.connection_mode = proto.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
        self.store = metadata_store.MetadataStore(config)
        self.pipeline = f"{run.deployment.name}-span"

    def complete(self, node, span, version=0, state=proto.Execution.COMPLETE):
        """Adds an execution; returns its update time in MLMD, Unix milliseconds."""
        run = f"{self.pipeline}.span-{span:05d}-v{version}.0123456789ab"
        names = {"pipeline_run": run, "node": f"{run}.{node}"}
        contexts = [
            proto.Context(type_id=self.store.put_context_type(proto.ContextType(name=kind)), name=name)
            for kind, name in names.items()
        ]
        kind = self.store.put_execution_type(proto.ExecutionType(name=node.partition("_")[0]))
        execution = proto.Execution(type_id=kind, last_known_state=state)
        number, _, _ = self.store.put_execution(execution, [], contexts, reuse_context_if_already_exist=True)
        (execution,) = self.store.get_executions_by_id([number])
        return execution.last_update_time_since_epoch


def times(published):
    return {
        "event_ms": published - 60_000,
        "ready_ms": published - 10_000,
        "labelled_ms": published - 1_500,
        "published_ms": published,
    }


def published_at(published, **fields):
    return certificate_files(5, **{"label_age_spans": 2} | times(published) | fields)


LABELLED = {"event_to_ready": 50.0, "ready_to_labelled": 8.5, "labelled_to_published": 1.5}


def test_each_stage_of_a_surface_starts_at_the_previous_mark(run):
    steps = Steps(run)
    trained = steps.complete("Trainer_student_tab_1", 5)
    pushed = steps.complete("Pusher_tab_1", 5)
    run.teacher(5, labels=published_at(trained - 4_000))
    run.surface(5)
    assert measure_freshness(run.deployment, run.paths) == [
        Freshness(5, TEACHER, 2, STAGES | LABELLED),
        Freshness(
            5,
            "tab_1",
            2,
            STAGES
            | LABELLED
            | {
                "published_to_trained": 4.0,
                "trained_to_pushed": (pushed - trained) / 1000,
                "event_to_pushed": (pushed - trained + 64_000) / 1000,
            },
        ),
    ]


def test_a_student_that_was_held_back_has_no_push_time(run):
    steps = Steps(run)
    trained = steps.complete("Trainer_student_tab_1", 5)
    steps.complete("Pusher_tab_1", 5)
    run.teacher(5, labels=published_at(trained - 4_000))
    run.surface(5, gate=(False, "control", "worse"))
    seconds = measure_freshness(run.deployment, run.paths)[-1].seconds
    assert seconds["published_to_trained"] == 4.0
    assert (seconds["trained_to_pushed"], seconds["event_to_pushed"]) == (None, None)


def test_failed_attempts_and_other_versions_of_the_span_do_not_count(run):
    steps = Steps(run)
    trained = steps.complete("Trainer_student_tab_1", 5)
    steps.complete("Trainer_student_tab_1", 5, version=1)
    steps.complete("Trainer_student_tab_1", 6)
    steps.complete("Trainer_student_tab_1", 5, state=proto.Execution.FAILED)
    run.teacher(5, labels=published_at(trained - 4_000))
    run.surface(5)
    assert measure_freshness(run.deployment, run.paths)[-1].seconds["published_to_trained"] == 4.0


def test_a_span_without_labels_or_metadata_has_no_seconds_and_a_skipped_one_is_absent(run):
    run.teacher(5, labels={"refusal": {"reason": "unfit"}})
    run.skip(TEACHER, 6, "empty")
    run.skip("tab_1", 6, "empty")
    run.surface(5)
    assert measure_freshness(run.deployment, run.paths) == [
        Freshness(5, TEACHER, None, STAGES),
        Freshness(5, "tab_1", None, STAGES),
    ]


def test_a_time_of_0_is_a_missing_mark(run):
    run.teacher(5, labels=published_at(1_700_000_000_000, event_ms=0))
    assert measure_freshness(run.deployment, run.paths)[0].seconds["event_to_ready"] is None
    assert measure_freshness(run.deployment, run.paths)[0].seconds["ready_to_labelled"] == 8.5


def publish(store, run, span, extra):
    key = LabelSetKey(teacher=run.deployment.teacher.name, teacher_version="abc-00004", span=span)
    facts = SetFacts(feature_version="abc", label_age_spans=3, seconds=1.0, extra=extra)
    return store.publish(store.stage(key, CLICK), [], facts)


def test_a_student_in_another_root_has_the_times_of_its_pinned_label_set(run):
    run.paths.root.mkdir()
    store = open_store(run.paths.label_store(run.deployment.label_store))
    now = 1_700_000_000_000
    record = publish(store, run, 5, {"event_ms": now, "ready_ms": now + 7_000, "labelled_ms": now + 9_000})
    trained = Steps(run).complete("Trainer_student_tab_1", 5)
    store.pin(run.deployment.fleet, 5, record.set_id)
    run.surface(5)
    (student,) = measure_freshness(run.deployment, run.paths)
    assert (student.branch, student.label_age_spans) == ("tab_1", 3)
    assert student.seconds["event_to_ready"] == 7.0
    assert student.seconds["ready_to_labelled"] == 2.0
    assert student.seconds["published_to_trained"] == (trained - record.created_ms) / 1000


def test_a_student_of_another_teacher_ignores_the_certificates_of_this_root(run):
    surface = dataclasses.replace(
        run.deployment.surfaces["tab_1"],
        labels=dataclasses.replace(run.deployment.surfaces["tab_1"].labels, teacher="other"),
    )
    surfaces = run.deployment.surfaces | {"tab_1": surface}
    run.deployment = dataclasses.replace(run.deployment, surfaces=surfaces)
    run.teacher(5, labels=published_at(1_700_000_000_000))
    run.surface(5)
    assert measure_freshness(run.deployment, run.paths)[-1] == Freshness(5, "tab_1", None, STAGES)


def test_percentiles_are_over_the_spans_of_a_branch_that_have_the_stage():
    spans = [
        Freshness(span, branch, 1, STAGES | {"event_to_ready": seconds})
        for span, branch, seconds in (
            (5, "teacher", 10.0),
            (6, "teacher", 20.0),
            (7, "teacher", None),
            (5, "a", 3.0),
        )
    ]
    assert percentiles(spans) == {
        "teacher": {"event_to_ready": {"p50": 15.0, "p95": pytest.approx(19.5)}},
        "a": {"event_to_ready": {"p50": 3.0, "p95": 3.0}},
    }


def test_the_next_span_follows_the_last_record_or_the_burn_in(run):
    assert next_span(run.deployment, TEACHER, []) == next_span(run.deployment, "tab_1", []) == 5
    run.teacher(6)
    assert next_span(run.deployment, TEACHER, finished_spans(run.paths, TEACHER)) == 7
    assert spans_behind(run.paths, 7) == 3
    assert spans_behind(dataclasses.replace(run.paths, events=run.paths.root / "none"), 7) == 0


def test_a_new_surface_starts_with_its_first_spans(run):
    surface = dataclasses.replace(run.deployment.surfaces["tab_1"], first_spans="7:8")
    deployment = dataclasses.replace(run.deployment, surfaces=run.deployment.surfaces | {"tab_1": surface})
    assert next_span(deployment, "tab_1", []) == 7
