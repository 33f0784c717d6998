"""Lineage of models in small MLMD stores that are written step by step, as a run writes them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import click.testing
import pytest
from ml_metadata import metadata_store
from ml_metadata.proto import metadata_store_pb2 as proto

from eventlog.errors import BadInput
from models.architecture import Architecture
from models.features import Feature
from models.job import TrainingJob
from models.optimizers import Optimizer
from models.settings import to_json
from models.state import job_hash
from models.tasks import Task
from pipeline.commands.lineage import lineage
from pipeline.observation.lineage import (
    find_root,
    labelling_model,
    model_lineage,
    open_metadata,
    refuse_trained_teacher,
)

TYPES = {
    "examples": "Examples",
    "joined": "Examples",
    "blessing": "ModelBlessing",
    "pushed_model": "PushedModel",
}


class Run:
    """A root with its own MLMD; each method adds one finished step."""

    def __init__(self, root, graph=None):
        self.root = root
        self.jobs = {role: to_json(job(role)) for role in ("teacher", "student", "control")}
        root.mkdir()
        config = proto.ConnectionConfig()
        config.sqlite.filename_uri = str(root / "metadata.sqlite")
        config.sqlite.connection_mode = proto.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
        self.store = metadata_store.MetadataStore(config)
        self.schema = self.step("ImportSchemaGen", [], "schema")["schema"]
        if graph is None:
            graph = self.step("Transform", [("schema", self.schema)], "transform_graph")[
                "transform_graph"
            ].uri
        self.graph = self.state("transform_graph", graph)

    def step(self, kind, inputs, *outputs, finished=True, run_id=None, **properties):
        """Adds an execution; returns its output artifacts by name."""
        contexts = []
        if run_id is not None:
            type_id = self.store.put_context_type(proto.ContextType(name="pipeline_run"), can_add_fields=True)
            contexts.append(proto.Context(type_id=type_id, name=run_id))
        kind_id = self.store.put_execution_type(proto.ExecutionType(name=f"some.package.{kind}"))
        execution = proto.Execution(type_id=kind_id)
        fill(execution.custom_properties, properties)
        pairs = [(artifact, event(proto.Event.INPUT, key)) for key, artifact in inputs]
        kind_of_output = proto.Event.OUTPUT if finished else proto.Event.PENDING_OUTPUT
        number = len(self.store.get_executions()) + 1
        for key in outputs:
            artifact_type = proto.ArtifactType(name=TYPES.get(key, "Model"), properties={"span": proto.INT})
            type_id = self.store.put_artifact_type(artifact_type, can_omit_fields=True, can_add_fields=True)
            artifact = proto.Artifact(type_id=type_id, uri=f"{self.root}/artifacts/{kind}/{key}/{number}")
            pairs.append((artifact, event(kind_of_output, key)))
        _, ids, _ = self.store.put_execution(execution, pairs, contexts, reuse_context_if_already_exist=True)
        return dict(zip(outputs, self.store.get_artifacts_by_id(ids[len(inputs) :]), strict=True))

    def put(self, artifact, span=None, **properties):
        fill(artifact.custom_properties, properties)
        if span is not None:
            artifact.properties["span"].int_value = span
        self.store.put_artifacts([artifact])
        return artifact

    def read(self, first, last=None):
        last = first if last is None else last
        examples = self.step("SpanExampleGen", [], "examples", first_span=first, last_span=last)["examples"]
        return self.put(examples, span=last)

    def join(self, span, *label_sets):
        joined = self.step("SoftLabelTransform", [("examples", self.read(span))], "joined", span=span)[
            "joined"
        ]
        return self.put(joined, span=span, label_sets=json.dumps(label_sets))

    def state(self, slot, source, run_id=None):
        return self.put(self.step("SpanState", [], slot, run_id=run_id)[slot], source=source)

    def train(self, examples, base, role="teacher", finished=True):
        inputs = [("examples", examples), ("transform_graph", self.graph), ("base_model", base)]
        config = json.dumps({"job": self.jobs[role]})
        return self.step("Trainer", inputs, "model", finished=finished, custom_config=config)["model"]

    def check(self, candidate, predecessor, examples, blessed=True):
        inputs = [("candidate", candidate), ("predecessor", predecessor), ("examples", examples)]
        outputs = self.step("CandidateCheck", inputs, "blessing", "next_base")
        self.put(outputs["blessing"], blessed=int(blessed))
        return outputs["next_base"]

    def span(self, good, examples, role="teacher", blessed=True):
        """State, training and check of one span; returns the good model."""
        base = self.state("teacher" if role == "teacher" else role, good.uri if good else "")
        return self.check(self.train(examples, base, role), base, examples, blessed)

    def push(self, model, folder):
        pushed = self.step("Pusher", [("model", model)], "pushed_model")["pushed_model"]
        return self.put(pushed, pushed_destination=str(folder))


def fill(target, properties):
    for name, value in properties.items():
        if isinstance(value, int):
            target[name].int_value = value
        else:
            target[name].string_value = value


def event(kind, key):
    steps = [proto.Event.Path.Step(key=key), proto.Event.Path.Step(index=0)]
    return proto.Event(type=kind, path=proto.Event.Path(steps=steps))


def defer(model_uri, span):
    """Adds a deferred span to a model's folder, as the check of a discarded candidate does."""
    folder = Path(model_uri, "unlearned", "Split-train")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"span-{span:05d}-00000-of-00001.gz").touch()


def job(role):
    return TrainingJob(
        role=role,
        surface=None if role == "teacher" else "tab_1",
        seed=1,
        features={"duration_seconds": Feature(kind="number")},
        tasks={"click": Task(kind="binary", group="pet")},
        distillation={},
        architecture=Architecture(embedding_size=4, trunk=(8,)),
        optimizer=Optimizer(name="adagrad", learning_rate=0.1),
        batch_size=64,
        passes=1,
    )


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path / "root")


def test_a_teacher_has_the_burn_in_and_every_later_span_in_its_lineage(run):
    burned_in = run.span(None, run.read(0, 2))
    good = run.span(run.span(burned_in, run.read(3)), run.read(4))

    result = model_lineage(run.store, good.uri)

    assert (result.uri, result.role, result.surface) == (good.uri, "teacher", None)
    assert (result.spans, result.trainings) == ((0, 1, 2, 3, 4), 3)
    assert (result.label_sets, result.teachers) == ((), ())
    assert result.job == job_hash(job("teacher"))
    assert result.transform_graph == f"{run.root}/artifacts/Transform/transform_graph/2", "not a copy of it"
    assert result.schema == run.schema.uri


def test_a_candidate_has_a_lineage_before_its_check(run):
    candidate = run.train(run.read(3), run.state("teacher", run.span(None, run.read(0, 2)).uri))

    assert model_lineage(run.store, f"{candidate.uri}/").spans == (0, 1, 2, 3)


def test_the_span_of_a_discarded_candidate_does_not_count(run):
    good = run.span(None, run.read(0, 2))
    predecessor = run.span(good, run.read(3), blessed=False)
    after = run.span(predecessor, run.read(4))

    assert model_lineage(run.store, predecessor.uri).spans == (0, 1, 2)
    assert model_lineage(run.store, after.uri).spans == (0, 1, 2, 4)
    assert model_lineage(run.store, after.uri).trainings == 2


def test_a_deferred_span_counts_for_the_training_that_reads_it(run):
    predecessor = run.span(run.span(None, run.read(0, 2)), run.read(3), blessed=False)
    defer(predecessor.uri, 3)
    base = run.state("teacher", predecessor.uri)
    defer(base.uri, 3)
    after = run.train(run.read(4), base)

    assert model_lineage(run.store, predecessor.uri).spans == (0, 1, 2), "deferred, not trained on"
    assert model_lineage(run.store, after.uri).spans == (0, 1, 2, 3, 4)


def test_deferred_shards_of_the_base_model_count_even_if_mlmd_lacks_them(run):
    base = run.state("teacher", run.span(None, run.read(0, 2)).uri)
    defer(base.uri, 3)

    assert model_lineage(run.store, run.train(run.read(4), base).uri).spans == (0, 1, 2, 3, 4)


def test_a_control_that_skips_trainings_has_their_spans_from_a_later_one(run):
    skipped = run.join(3, "t.g-00002.span-00003.0.aaa")
    base = run.state("control", run.span(None, run.join(2), "control").uri)
    deferred = run.step("TrainingDeferral", [("model", base), ("examples", skipped)], "next_base")[
        "next_base"
    ]
    base = run.state("control", deferred.uri)
    defer(base.uri, 3)

    result = model_lineage(run.store, run.train(run.join(4), base, "control").uri)

    assert (result.role, result.spans, result.label_sets) == ("control", (2, 3, 4), ())


def test_a_student_has_its_label_sets_and_their_teachers_in_order_of_training(run):
    sets = [f"big.f00-{span - 1:05d}.span-{span:05d}.0.abc" for span in range(6)]
    good = run.span(None, run.join(2, sets[2]), "student")
    predecessor = run.span(good, run.join(3, sets[3]), "student", blessed=False)
    undeferred = run.span(predecessor, run.join(4, sets[4]), "student", blessed=False)
    base = run.state("student", undeferred.uri)
    defer(base.uri, 3)

    result = model_lineage(run.store, run.train(run.join(5, sets[5], sets[2]), base, "student").uri)

    assert (result.role, result.surface, result.spans) == ("student", "tab_1", (2, 3, 5))
    assert result.label_sets == (sets[2], sets[3], sets[5]), "span 4 was not deferred, and no set is repeated"
    assert result.teachers == ("big.f00-00001", "big.f00-00002", "big.f00-00004")


def test_a_span_without_a_row_for_the_model_is_not_in_its_lineage(run):
    sets = [f"big.f00-{span - 1:05d}.span-{span:05d}.0.abc" for span in range(4)]
    good = run.span(None, run.join(2, sets[2]), "student")
    candidate = run.train(run.join(3, sets[3]), run.state("student", good.uri), "student")
    assert model_lineage(run.store, candidate.uri).spans == (2, 3)

    state = Path(candidate.uri, "training-state")
    state.mkdir(parents=True)
    (state / "state.json").write_text(json.dumps({"spans": [2]}))

    result = model_lineage(run.store, candidate.uri)
    assert (result.spans, result.label_sets) == ((2,), (sets[2],))


def test_the_lineage_of_a_pushed_folder_is_that_of_the_pushed_model(run):
    model = run.train(run.join(2), run.state("student", ""), "student")
    other = run.train(run.join(3), run.state("student", ""), "student")
    folder = run.root / "serving" / "tab_1" / "17"
    run.push(other, folder.with_name("18"))
    pushed = run.push(model, folder)

    assert model_lineage(run.store, str(folder)) == model_lineage(run.store, model.uri)
    assert model_lineage(run.store, pushed.uri).uri == model.uri


def test_the_chain_continues_in_the_root_that_contains_an_artifact(run, tmp_path):
    surfaces = Run(tmp_path / "surfaces", graph=run.graph.uri)
    teacher = run.span(None, run.read(0, 2))
    student = surfaces.span(None, surfaces.join(3), "student")
    adopted = surfaces.state("teacher", teacher.uri)

    result = model_lineage(surfaces.store, student.uri)

    assert result.transform_graph.startswith(f"{run.root}/artifacts/Transform/")
    assert result.schema == run.schema.uri
    assert model_lineage(surfaces.store, adopted.uri).spans == (0, 1, 2)


def test_a_teacher_that_read_the_span_is_refused_even_if_its_own_state_omits_the_span(run):
    burned_in = run.span(None, run.read(0, 2))
    reader = run.train(run.read(3), run.state("teacher", burned_in.uri))
    good = run.span(reader, run.read(4))
    (state := Path(good.uri, "training-state", "state.json")).parent.mkdir(parents=True)
    state.write_text(json.dumps({"spans": [0, 1, 2]}))

    with pytest.raises(BadInput, match=r"labels of span 3: the teacher has trained on the span") as refused:
        refuse_trained_teacher(run.store, good.uri, 3)

    got = f"got {good.uri}: Trainer execution {Path(reader.uri).name} read span 3."
    assert got in str(refused.value)
    with pytest.raises(BadInput, match=r"labels of span 1: the teacher has trained on the span"):
        refuse_trained_teacher(run.store, burned_in.uri, 1)
    refuse_trained_teacher(run.store, good.uri, 5)
    refuse_trained_teacher(run.store, burned_in.uri, 3)


def test_a_teacher_that_read_the_span_as_a_deferred_span_is_refused(run):
    base = run.state("teacher", run.span(run.span(None, run.read(0, 2)), run.read(3), blessed=False).uri)
    defer(base.uri, 3)
    after = run.train(run.read(4), base)

    refuse_trained_teacher(run.store, base.uri, 3)
    with pytest.raises(BadInput, match=r"labels of span 3: the teacher has trained on the span"):
        refuse_trained_teacher(run.store, after.uri, 3)


def test_the_labelling_model_is_the_teacher_that_span_state_outputs_in_that_run(run):
    first = run.state("teacher", "", run_id="span-2")
    run.state("student", "", run_id="span-2")
    second = run.state("teacher", "", run_id="span-3")
    run.state("student", "", run_id="surfaces")
    run.step("SpanState", [], "teacher", run_id="surfaces", finished=False)
    run.step("Importer", [], "teacher", run_id="surfaces")

    assert labelling_model(run.store, "span-2") == first.uri
    assert labelling_model(run.store, "span-3") == second.uri
    assert labelling_model(run.store, "surfaces") is None
    assert labelling_model(run.store, "span-4") is None


def test_an_examples_artifact_is_not_a_model(run):
    with pytest.raises(BadInput, match=r"not a model: expected .*, got an artifact of type Examples\."):
        model_lineage(run.store, run.read(3).uri)


def test_the_empty_marker_may_label_and_is_not_a_model(run):
    marker = run.state("teacher", "").uri

    refuse_trained_teacher(run.store, marker, 3)
    with pytest.raises(BadInput, match=r"not a model: .* got the empty marker: there is no model yet\."):
        model_lineage(run.store, marker)


def test_a_model_from_an_unknown_step_is_refused(run):
    with pytest.raises(BadInput, match=r"not a model: expected .*, got an output of Importer\."):
        model_lineage(run.store, run.step("Importer", [], "model")["model"].uri)


def test_the_output_of_a_killed_training_is_refused(run):
    pending = run.train(run.read(3), run.state("teacher", ""), finished=False)

    with pytest.raises(BadInput, match=rf"{pending.uri}: unknown to MLMD"):
        model_lineage(run.store, pending.uri)


def test_an_incomplete_chain_is_refused(run):
    orphan = run.state("teacher", "/gone/artifacts/CandidateCheck_teacher/next_base/8")

    with pytest.raises(
        BadInput, match=r"/gone/artifacts/CandidateCheck_teacher/next_base/8: unknown to MLMD"
    ):
        refuse_trained_teacher(run.store, orphan.uri, 3)


def test_a_training_job_of_another_version_is_refused(run):
    run.jobs = {"teacher": '{"role": "teacher", "era": 7}'}

    with pytest.raises(BadInput, match=r"Trainer execution \d+: the training job cannot be read"):
        model_lineage(run.store, run.train(run.read(3), run.state("teacher", "")).uri)


@pytest.fixture
def print_lineage():
    """Runs `rankdistill lineage`."""

    def run_command(*arguments):
        runner = click.testing.CliRunner()
        return runner.invoke(lineage, list(map(str, arguments)), catch_exceptions=False).output

    return run_command


def test_the_command_prints_a_table_and_json(run, print_lineage):
    one, two = (f"big.f00-{span - 1:05d}.span-{span:05d}.0.abc" for span in (2, 3))
    good = run.span(run.span(None, run.join(2, one), "student"), run.join(3, two), "student")
    good = run.span(good, run.join(6), "student")
    run.push(good, run.root / "serving" / "tab_1" / "17")

    table = [" ".join(line.split()) for line in print_lineage(good.uri).splitlines()]
    printed = json.loads(print_lineage(run.root / "serving" / "tab_1" / "17", "--root", run.root, "--json"))

    assert {"role student of tab_1", "trained on spans 2:3, 6", "trainings 3", f"label sets {one}"} <= set(
        table
    )
    assert "teacher versions big.f00-00001" in table
    assert table[table.index("teacher versions big.f00-00001") + 1] == "big.f00-00002"
    assert (printed["uri"], printed["spans"], printed["label_sets"]) == (good.uri, [2, 3, 6], [one, two])
    assert f"schema {printed['schema']}" in table


def test_the_command_refuses_a_model_outside_any_root(tmp_path, print_lineage):
    with pytest.raises(BadInput, match=rf"{tmp_path}/model: the model is in no run's root: .* --root\."):
        print_lineage(tmp_path / "model")


def test_a_root_without_readable_metadata_is_refused(run, tmp_path, print_lineage):
    with pytest.raises(BadInput, match=r"no readable MLMD: expected .*, got no such file\."):
        print_lineage(run.state("teacher", "").uri, "--root", tmp_path)
    (tmp_path / "metadata.sqlite").write_text("no database")
    with pytest.raises(BadInput, match=r"no readable MLMD: .*, got .*file is not a database\."):
        open_metadata(tmp_path)


def test_the_root_is_the_nearest_folder_with_metadata(run, tmp_path):
    assert find_root(run.root / "artifacts" / "Trainer" / "model" / "7") == run.root
    assert find_root(run.root) == run.root
    assert find_root(tmp_path) is None


def test_the_command_imports_neither_tfx_nor_tensorflow(run):
    good = run.span(None, run.read(0, 2))
    program = (
        "import sys; from pipeline.commands.lineage import lineage; "
        f"lineage([{good.uri!r}, '--json'], standalone_mode=False); "
        "sys.exit(bool({'tfx', 'tensorflow'} & set(sys.modules)))"
    )
    completed = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, cwd=Path(__file__).parents[3], check=False
    )

    assert completed.returncode == 0, completed.stderr.decode()
    assert json.loads(completed.stdout)["spans"] == [0, 1, 2]
