"""Checks the promises of a run on the files of a small complete run."""

import dataclasses
import json
import math
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
import tensorflow_model_analysis as tfma
import yaml
from rich.console import Console
from tfx.orchestration import metadata

from components.label_store.base import LabelSetKey, SetFacts, SoftColumn
from components.label_store.schemes import open_store
from components.soft_label_bulk_inferrer import teacher_record
from components.span_records import TEACHER, read_record, recorded_spans
from components.transforms.join_report import read_join_report
from components.transforms.shards import HELD_OUT_SPLITS
from eventlog.errors import BadInput
from models.state import SERVING_FOLDER, STATE_FOLDER
from models.state import read_state_record as read_state
from pipeline.config_file import load_deployment
from pipeline.driver.loop import Loop
from pipeline.driver.progress import Progress
from pipeline.observation.lineage import labelling_model, model_lineage, open_metadata, refuse_trained_teacher
from pipeline.observation.run_page import run_page
from pipeline.observation.summary import summarize, write_summary
from pipeline.paths import RunPaths

SPANS = [4, 5, 6, 7]
SURFACES = ("tab_1", "tab_0")


def run_due(deployment, paths, wanted, progress):
    """The spans run now; no surface may be behind."""
    done, stuck = Loop(deployment, paths, progress).catch_up(wanted)
    assert stuck == {}
    return done


@pytest.fixture(scope="module")
def deployment(small_config):
    return load_deployment(small_config)


@pytest.fixture(scope="module")
def paths(finished_run):
    return finished_run


@pytest.fixture(scope="module")
def summary(deployment, paths):
    return summarize(deployment, paths)


@pytest.fixture(scope="module")
def store(deployment, paths):
    return open_store(paths.label_store(deployment.label_store))


def test_the_summary_has_the_figures_of_every_role(summary, tmp_path):
    write_summary(summary, tmp_path / "summary.json")
    read = json.loads((tmp_path / "summary.json").read_text())

    assert read["spans"] == SPANS
    for surface in SURFACES:
        tasks = read["surfaces"][surface]["tasks"]
        assert len(tasks) == 7
        for task, figures in tasks.items():
            assert {"teacher", "student", "control", "difference"} <= set(figures), task
        assert tasks["click"]["student"]["auc"] > 0
        assert tasks["click"]["student"]["positives"] > 50
        assert len(tasks["click"]["difference"]["auc"]) == 3
        assert math.isfinite(tasks["watch_time"]["difference"]["rmse"][1])
        assert tasks["comment"]["difference"]["auc"][1:] == [None, None], "too few positives for an interval"
    assert read["seconds"]["Trainer_teacher"] > 0


def test_tensorboard_has_one_curve_for_each_model(paths):
    for model in (
        "teacher",
        *(f"{role}_{surface}" for role in ("student", "control") for surface in SURFACES),
    ):
        spans, steps = [], []
        for file in sorted(Path(paths.curves, model).iterdir()):
            for event in tf.compat.v1.train.summary_iterator(str(file)):
                for value in event.summary.value:
                    if value.tag == "span":
                        spans.append(int(tf.make_ndarray(value.tensor)))
                        steps.append(event.step)
        assert set(spans) >= set(SPANS), model
        assert spans == sorted(spans) and steps == sorted(steps), model


def test_delayed_figures_come_from_predictions_made_when_the_row_was_fresh(paths):
    # Labels of span 4, the first that a student has predicted, mature in span 7.
    matured = pq.read_table(
        Path(read_record(paths.records, "tab_1", 7).slots["figures"]) / "matured.parquet", partitioning=None
    )
    fresh = pq.read_table(
        Path(read_record(paths.records, "tab_1", 4).slots["figures"]) / "fresh.parquet", partitioning=None
    )
    fresh = fresh.take(pc.index_in(matured["example_id"], fresh["example_id"].combine_chunks()))

    assert set(matured["impression_span"].to_pylist()) == {4}
    assert matured["label_click"].null_count == matured.num_rows > 0
    for column in ("label_ltv", "teacher_ltv", "student_ltv", "control_ltv"):
        assert matured[column].null_count == 0, column
    for column in ("student_ltv", "control_ltv"):
        assert matured[column].to_pylist() == fresh[column].to_pylist(), column


def test_every_fresh_row_has_a_label_from_the_first_span_on(paths, summary):
    for surface in SURFACES:
        assert summary["surfaces"][surface]["coverage"] == 1.0
        for span in SPANS:
            report = read_join_report(read_record(paths.records, surface, span).slots["examples"])
            assert report.fresh_rows == report.labelled_fresh_rows > 0


def test_one_label_set_a_span_with_its_lag(summary, store):
    assert [entry["span"] for entry in summary["label_sets"]] == SPANS
    assert all(entry["rows"] == 1500 for entry in summary["label_sets"])
    assert all(0 < entry["lag_seconds"] < 600 for entry in summary["label_sets"]), "counted from the examples"
    assert len(store.list_sets()) == len(SPANS)


def test_all_surfaces_of_a_fleet_joined_the_pinned_set(deployment, paths, store):
    for span in SPANS:
        pinned = store.read_pin(deployment.fleet, span)
        for surface in SURFACES:
            folder = Path(read_record(paths.records, surface, span).slots["examples"])
            assert json.loads((folder / "join_report.json").read_text())["label_sets"][0] == pinned


def test_mlmd_has_the_label_set_of_each_join(deployment, paths, store):
    with metadata.Metadata(metadata.sqlite_metadata_connection_config(paths.metadata)) as handle:
        joins = [
            {name: value.int_value or value.string_value for name, value in join.custom_properties.items()}
            for kind in handle.store.get_execution_types()
            if kind.name.endswith("SoftLabelTransform")
            for join in handle.store.get_executions_by_type(kind.name)
        ]
    read = {(join["surface"], join["span"]): join["label_set"] for join in joins}
    assert read == {
        (surface, span): store.read_pin(deployment.fleet, span) for surface in SURFACES for span in SPANS
    }


def test_no_label_comes_from_a_teacher_that_trained_on_the_span(paths, store):
    for record in store.list_sets():
        assert record.facts.label_age_spans == 1
        assert record.key.teacher_version.endswith(f"-{record.key.span - 1:05d}")
    latest = read_record(paths.records, TEACHER, SPANS[-1]).slots["teacher"]
    with pytest.raises(BadInput, match=r"labels of span 7: the teacher has trained on the span it labels"):
        teacher_record(latest, SPANS[-1], "previous")
    assert teacher_record(latest, SPANS[-1], "current").spans == [2, 3, *SPANS]


def test_models_continue_from_those_of_the_span_before(paths):
    for surface, role in (("tab_1", "student"), ("tab_1", "control"), ("tab_0", "student")):
        states = [
            read_state(f"{read_record(paths.records, surface, span).slots[role]}/{STATE_FOLDER}")
            for span in SPANS
        ]
        assert [state.spans for state in states] == [[2, 3, *SPANS[: n + 1]] for n in range(len(SPANS))]
        assert {(state.role, state.surface) for state in states} == {(role, surface)}
        steps = [state.step for state in states]
        assert steps == sorted(set(steps))
        assert len({state.feature_version for state in states}) == 1


@pytest.mark.parametrize("surface", SURFACES)
def test_student_and_control_are_equal_until_the_first_soft_label(paths, surface):
    folders = [Path(read_record(paths.records, surface, span).slots["figures"]) for span in SPANS[:2]]
    first, second = (pq.read_table(folder / "fresh.parquet", partitioning=None) for folder in folders)
    assert first["student_click"].null_count == 0
    for task in ("click", "watch_time"):
        differences = [
            float(np.abs(table[f"student_{task}"].to_numpy() - table[f"control_{task}"].to_numpy()).max())
            for table in (first, second)
        ]
        # The student's graph has more heads, so sums are rounded differently.
        assert differences[0] < 1e-5
        assert differences[1] > 1e-3


def test_the_served_student_has_the_same_shape_as_its_control(paths):
    record = read_record(paths.records, "tab_1", SPANS[-1]).slots
    student, control = (
        tf.saved_model.load(f"{record[role]}/{SERVING_FOLDER}") for role in ("student", "control")
    )

    def shape(model):
        graph = model.signatures["serving_default"].graph
        operations = sorted(operation.type for operation in graph.get_operations())
        return operations, sorted(
            tuple(variable.shape) for variable in model.signatures["serving_default"].variables
        )

    assert shape(student) == shape(control)
    assert not [
        variable.name
        for variable in student.signatures["serving_default"].variables
        if "soft" in variable.name
    ]


def test_the_blessed_model_is_pushed(paths):
    pushed = sorted(Path(paths.serving("tab_1")).iterdir())
    blessed = Path(read_record(paths.records, "tab_1", SPANS[-1]).slots["student"]) / SERVING_FOLDER

    def files(folder):
        return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    assert len(pushed) == len(SPANS)
    assert files(pushed[-1]) == files(blessed), "graph and weights, without training state"


def test_a_second_run_has_no_span_to_run(deployment, paths):
    with Path(paths.root.parent / "again.txt").open("w") as log:
        assert run_due(deployment, paths, range(4, 8), Progress(Console(file=log))) == []


def test_steps_are_printed_as_plain_lines(paths):
    text = (paths.root.parent / "log.txt").read_text()

    assert "span 7 [" in text and "Trainer_teacher" in text
    assert "\x1b" not in text


@pytest.fixture(scope="module")
def page(deployment, paths, summary):
    return run_page(deployment, paths, summary)


def section(page, heading):
    return page.split(f"<h2>{heading}</h2>")[1].split("<h2>")[0]


@pytest.mark.parametrize("surface", ["tab_1", "tab_0"])
def test_every_surface_has_a_table_and_a_chart_of_gains(page, surface):
    text = section(page, f"Surface {surface}")
    assert "watch_time" in text and "student - control" in text
    assert f"{surface}: gain from distillation" in text


def test_a_task_with_few_positives_has_their_number_instead_of_figures(page):
    row = section(page, "Surface tab_0").split("<td>comment</td>")[1].split("</tr>")[0]
    assert re.search(r"<td>auc</td><td>-</td><td>-</td><td>-</td><td>too few positives: \d+</td>", row)


@pytest.mark.parametrize("surface", ["tab_1", "tab_0"])
def test_every_surface_has_the_roles_and_the_difference_by_span(page, surface):
    text = section(page, f"Surface {surface}")
    for task, metric in (("click", "auc"), ("watch_time", "rmse")):
        drawing = text.split(f"<figcaption>{surface}, {task}: {metric} by span</figcaption>")[1].split(
            "</svg>"
        )[0]
        assert all(f">{role}<" in drawing for role in ("teacher", "student", "control"))
        # On the smaller surface, no span has enough clicks for an interval.
        has_intervals = surface == "tab_1" or metric == "rmse"
        assert (f"{surface}, {task}: {metric}, student - control by span" in text) == has_intervals
    assert "like: auc by span" not in text, "one task of each kind"


def test_labels_and_costs_are_listed(page):
    labels = section(page, "Labels")
    rows = re.findall(r"<tr><td>[^<]+</td><td>(\d+)</td><td>(\d+)</td>", labels)
    assert sorted(int(span) for span, _ in rows) == SPANS
    assert all(int(num_rows) == 1500 for _, num_rows in rows)
    assert labels.count("<svg") == 2
    cost = section(page, "Cost")
    assert "by number of students" in cost and "Trainer_teacher" in cost


def test_every_surface_has_a_calibration_chart(page):
    assert section(page, "Calibration").count("<svg") == 2


KILLED = """
import os, signal, sys
moment = sys.argv[1]
from components.label_store.delta.store import DeltaLabelStore
original = DeltaLabelStore.publish
def publish(self, *arguments, **options):
    if moment == "after":
        original(self, *arguments, **options)
    os.kill(os.getpid(), signal.SIGKILL)
DeltaLabelStore.publish = publish
sys.argv = ["rankdistill", "run", *sys.argv[2:]]
from rankdistill.command_line import main
main()
"""


@pytest.mark.chaos
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_kill_around_the_label_commit_leaves_one_set_or_none(
    moment, deployment, paths, store, small_config, tmp_path
):
    """A kill before the commit leaves no set; a kill after it, before MLMD has it, leaves the only set."""
    root = tmp_path / "root"
    shutil.copytree(paths.root / "records" / "bootstrap", root / "records" / "bootstrap")
    arguments = ["--config", small_config, "--events", paths.events, "--root", root, "--spans", "4:4"]
    command = [sys.executable, "-c", KILLED, moment, *map(str, arguments)]
    killed = subprocess.run(command, capture_output=True, check=False, cwd=Path(__file__).parents[2])
    labels = open_store(f"delta:{root}/labels")
    before = [record.set_id for record in labels.list_sets()]

    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()[-2000:]
    assert len(before) == (1 if moment == "after" else 0)
    assert recorded_spans(str(root / "records"), TEACHER) == []
    with (tmp_path / "log.txt").open("w") as log:
        again = RunPaths(root=root, events=paths.events)
        assert run_due(deployment, again, range(4, 5), Progress(Console(file=log))) == [4]
    after = labels.list_sets()
    assert len(after) == 1
    assert before in ([], [after[0].set_id])
    assert after[0].checksum == store.list_sets()[0].checksum, "labels by content as in the undisturbed run"


@pytest.mark.slow
def test_tfx_evaluator_runs_if_enabled(small_document, paths, tmp_path):
    document = small_document | {
        "evaluation": small_document["evaluation"] | {"tfma": True, "tfma_slices": ["hour", "tag"]},
        "surfaces": {"tab_0": small_document["surfaces"]["tab_0"]},
    }
    path = tmp_path / "tfma.yaml"
    path.write_text(yaml.safe_dump(document))
    root = tmp_path / "root"
    shutil.copytree(paths.root / "records" / "bootstrap", root / "records" / "bootstrap")
    sliced = RunPaths(root=root, events=paths.events)

    with (tmp_path / "log.txt").open("w") as log:
        run_due(load_deployment(path), sliced, range(4, 5), Progress(Console(file=log)))

    with metadata.Metadata(metadata.sqlite_metadata_connection_config(sliced.metadata)) as handle:
        (evaluation, *_) = handle.store.get_artifacts_by_type("ModelEvaluation")
    result = tfma.load_eval_result(evaluation.uri)
    slices = {key for key, _ in result.slicing_metrics}
    overall = dict(result.slicing_metrics)[()]
    assert () in slices and len(slices) > 5
    assert "auc" in overall["click"][""]
    assert overall["click"][""]["example_count"]["doubleValue"] == report_rows(sliced, HELD_OUT_SPLITS[0])


def report_rows(paths, split):
    """Rows of one split of the joined Examples of tab_0, the first evaluated surface."""
    folder = Path(read_record(paths.records, "tab_0", 4).slots["examples"]) / f"Split-{split}"
    return sum(1 for path in sorted(folder.iterdir()) for _ in tf.data.TFRecordDataset(str(path), "GZIP"))


@pytest.fixture(scope="module")
def mlmd(paths):
    return open_metadata(paths.root)


def test_mlmd_and_the_state_of_every_model_have_the_same_spans(paths, mlmd):
    for branch, role in ((TEACHER, "teacher"), ("tab_1", "student"), ("tab_0", "control")):
        for span in SPANS:
            model = read_record(paths.records, branch, span).slots[role]
            state = read_state(f"{model}/{STATE_FOLDER}")
            lineage = model_lineage(mlmd, model)
            assert (lineage.uri, lineage.role, lineage.surface) == (model, role, state.surface)
            assert (list(lineage.spans), lineage.job) == (state.spans, state.job_hash)
            assert lineage.trainings == len(state.spans) - 1, "the burn-in is one training of two spans"


def test_the_lineage_of_a_pushed_folder_has_labels_teachers_graph_and_schema(deployment, paths, mlmd, store):
    pins = tuple(store.read_pin(deployment.fleet, span) for span in SPANS)
    bootstrap = read_record(paths.records, "bootstrap", 3).slots
    pushed = sorted(Path(paths.serving("tab_1")).iterdir())

    lineage = model_lineage(mlmd, str(pushed[-1]))

    assert lineage.uri.startswith(f"{paths.artifacts}/Trainer_student_tab_1/model/")
    assert (lineage.spans, lineage.label_sets) == ((2, 3, *SPANS), pins)
    assert lineage.teachers == tuple(
        f"{record.key.teacher}.{record.key.teacher_version}" for record in map(store.find_set, pins)
    )
    assert lineage.transform_graph == bootstrap["transform_graph"]
    assert (Path(lineage.schema) / "schema.pbtxt").is_file()
    assert model_lineage(mlmd, str(pushed[0])).spans == (2, 3, SPANS[0])


def test_every_labelling_model_may_label_its_span_but_not_an_earlier_one(paths, mlmd):
    labellings = mlmd.get_executions_by_type("components.soft_label_bulk_inferrer.SoftLabelBulkInferrer")
    spans = []
    for labelling in labellings:
        contexts = mlmd.get_contexts_by_execution(labelling.id)
        (run,) = (context for context in contexts if context.type == "pipeline_run")
        events = mlmd.get_events_by_execution_ids([labelling.id])
        read = mlmd.get_artifacts_by_id([event.artifact_id for event in events])
        spans.append(labelling.custom_properties["span"].int_value)
        model = labelling_model(mlmd, run.name)
        assert [artifact.uri for artifact in read if artifact.type == "Model"] == [model]
        refuse_trained_teacher(mlmd, model, spans[-1])
        with pytest.raises(BadInput, match=rf"labels of span {spans[-1] - 1}: the teacher has trained"):
            refuse_trained_teacher(mlmd, model, spans[-1] - 1)
    assert sorted(spans) == SPANS


def test_mlmd_refuses_a_teacher_whose_own_state_omits_the_span(paths, mlmd):
    teacher = read_record(paths.records, TEACHER, SPANS[-1]).slots["teacher"]
    state = Path(teacher, STATE_FOLDER, "state.json")
    content = state.read_text()
    try:
        state.write_text(json.dumps(json.loads(content) | {"spans": [2, 3]}))
        assert teacher_record(teacher, SPANS[-1], "previous").spans == [2, 3], "reads only the state"
        with pytest.raises(BadInput, match=rf"got {teacher}: Trainer execution \d+ read span 7\."):
            refuse_trained_teacher(mlmd, teacher, SPANS[-1])
    finally:
        state.write_text(content)


@pytest.mark.slow
def test_only_the_surface_without_labels_is_behind_and_it_catches_up_under_another_policy(
    small_document, paths, tmp_path
):
    def deployment_with(**changes):
        surfaces = small_document["surfaces"] | {"tab_0": {"labels": {"teacher": "nobody"}, **changes}}
        path = tmp_path / "behind.yaml"
        path.write_text(yaml.safe_dump(small_document | {"surfaces": surfaces}))
        return load_deployment(path)

    root = tmp_path / "root"
    shutil.copytree(paths.root / "records" / "bootstrap", root / "records" / "bootstrap")
    behind = RunPaths(root=root, events=paths.events)
    with (tmp_path / "log.txt").open("w") as log:
        progress = Progress(Console(file=log))
        done, stuck = Loop(deployment_with(), behind, progress).catch_up(range(4, 5))
        assert done == [4]
        assert list(stuck) == ["tab_0"]
        assert "span 4: no label set: expected a set of teacher 'nobody'" in str(stuck["tab_0"])
        assert recorded_spans(behind.records, "tab_1") == recorded_spans(behind.records, TEACHER) == [4]
        assert recorded_spans(behind.records, "tab_0") == []
        teacher = read_record(behind.records, TEACHER, 4)
        hard_only = deployment_with(without_labels="hard-only")
        assert Loop(hard_only, behind, progress).catch_up(range(4, 5)) == ([4], {})
    assert recorded_spans(behind.records, "tab_0") == [4]
    assert read_record(behind.records, TEACHER, 4) == teacher, "the teacher has not run again"
    report = read_join_report(read_record(behind.records, "tab_0", 4).slots["examples"])
    assert (report.decision, report.labelled_fresh_rows) == ("hard-only", 0)
    assert report.fresh_rows > 0


@pytest.fixture
def copied_run(paths, tmp_path):
    """Copies the finished run's records, MLMD and label store to a new root, without its artifacts."""
    root = tmp_path / "root"
    shutil.copytree(paths.root, root, ignore=shutil.ignore_patterns(Path(paths.artifacts).name))
    return RunPaths(root=root, events=paths.events)


def supersede(deployment, run, span):
    with (run.root.parent / "log.txt").open("a") as log:
        loop = Loop(deployment, run, Progress(Console(file=log)))
        assert loop.backfill(range(span, span + 1), supersede=True) == ([span], {})


def sets_of_span(deployment, run, span):
    records = open_store(run.label_store(deployment.label_store)).list_sets()
    return [record for record in records if record.key.span == span]


@pytest.mark.slow
def test_superseding_twice_publishes_two_revisions_and_leaves_the_pin(deployment, copied_run):
    store = open_store(copied_run.label_store(deployment.label_store))
    pinned = store.read_pin(deployment.fleet, 6)
    (first,) = sets_of_span(deployment, copied_run, 6)
    for _ in range(2):
        supersede(deployment, copied_run, 6)

    records = sets_of_span(deployment, copied_run, 6)
    assert sorted(record.revision for record in records) == [1, 2, 3]
    assert {(record.key, record.checksum) for record in records} == {(first.key, first.checksum)}
    assert store.read_pin(deployment.fleet, 6) == pinned == first.set_id
    assert len(open_store(copied_run.label_store(deployment.label_store)).list_sets()) == len(SPANS) + 2


@pytest.mark.slow
def test_a_span_whose_set_was_deleted_is_labelled_again_each_time(deployment, copied_run, tmp_path):
    deployment = dataclasses.replace(deployment, label_store=f"delta:{tmp_path / 'labels'}")
    checksums = []
    for _ in range(2):
        with (tmp_path / "log.txt").open("a") as log:
            loop = Loop(deployment, copied_run, Progress(Console(file=log)))
            assert loop.backfill(range(6, 7)) == ([6], {})
        (labelled,) = sets_of_span(deployment, copied_run, 6)
        checksums.append(labelled.checksum)
        shutil.rmtree(tmp_path / "labels")
    assert checksums[0] == checksums[1]


@pytest.mark.slow
def test_superseding_twice_publishes_two_sets_beside_the_set_of_another_teacher_version(
    deployment, copied_run, tmp_path
):
    """Under `label_with: current` the first set has another key than the sets that supersede it."""
    deployment = dataclasses.replace(deployment, label_store=f"delta:{tmp_path / 'labels'}")
    store = open_store(copied_run.label_store(deployment.label_store))
    key = LabelSetKey(teacher=deployment.teacher.name, teacher_version="other", span=6)
    column = SoftColumn(kind="binary", link="sigmoid", unit="probability")
    facts = SetFacts(feature_version="f", label_age_spans=0, seconds=1.0)
    store.publish(store.stage(key, {"click": column}), [], facts)
    for _ in range(2):
        supersede(deployment, copied_run, 6)

    revisions = [record.revision for record in sets_of_span(deployment, copied_run, 6) if record.key != key]
    assert sorted(revisions) == [1, 2]
