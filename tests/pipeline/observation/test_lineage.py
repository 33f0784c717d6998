"""Small MLMD stores, written step by step as a run would, and what they say of a model."""

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
    refuse_leaking_teacher,
)

TYPES = {
    "examples": "Examples",
    "joined": "Examples",
    "blessing": "ModelBlessing",
    "pushed_model": "PushedModel",
}


class Run:
    """A root with an MLMD of its own, in which each method is one finished step."""

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
        """Puts an execution; gives its outputs by name."""
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
            made = proto.ArtifactType(name=TYPES.get(key, "Model"), properties={"span": proto.INT})
            made_id = self.store.put_artifact_type(made, can_omit_fields=True, can_add_fields=True)
            artifact = proto.Artifact(type_id=made_id, uri=f"{self.root}/artifacts/{kind}/{key}/{number}")
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
        made = self.step("CandidateCheck", inputs, "blessing", "good_model")
        self.put(made["blessing"], blessed=int(blessed))
        return made["good_model"]

    def span(self, good, examples, role="teacher", blessed=True):
        """State, training and check of one span; gives the good model."""
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


def hand_on(model_uri, span):
    """What a discarded candidate's span leaves in the good model's folder and its copies."""
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


def test_a_teacher_has_learnt_the_burn_in_and_every_span_since(run):
    burnt_in = run.span(None, run.read(0, 2))
    good = run.span(run.span(burnt_in, run.read(3)), run.read(4))

    found = model_lineage(run.store, good.uri)

    assert (found.uri, found.role, found.surface) == (good.uri, "teacher", None)
    assert (found.spans, found.trainings) == ((0, 1, 2, 3, 4), 3)
    assert (found.label_sets, found.teachers) == ((), ())
    assert found.job == job_hash(job("teacher"))
    assert found.transform_graph == f"{run.root}/artifacts/Transform/transform_graph/2", "not a copy of it"
    assert found.schema == run.schema.uri


def test_a_candidate_just_trained_has_a_lineage_before_it_is_checked(run):
    candidate = run.train(run.read(3), run.state("teacher", run.span(None, run.read(0, 2)).uri))

    assert model_lineage(run.store, f"{candidate.uri}/").spans == (0, 1, 2, 3)


def test_what_a_discarded_candidate_learnt_does_not_count(run):
    good = run.span(None, run.read(0, 2))
    kept = run.span(good, run.read(3), blessed=False)
    after = run.span(kept, run.read(4))

    assert model_lineage(run.store, kept.uri).spans == (0, 1, 2)
    assert model_lineage(run.store, after.uri).spans == (0, 1, 2, 4)
    assert model_lineage(run.store, after.uri).trainings == 2


def test_a_span_that_was_handed_on_counts_for_the_training_that_learnt_it(run):
    kept = run.span(run.span(None, run.read(0, 2)), run.read(3), blessed=False)
    hand_on(kept.uri, 3)
    base = run.state("teacher", kept.uri)
    hand_on(base.uri, 3)
    after = run.train(run.read(4), base)

    assert model_lineage(run.store, kept.uri).spans == (0, 1, 2), "carried along, not learnt"
    assert model_lineage(run.store, after.uri).spans == (0, 1, 2, 3, 4)


def test_shards_that_wait_in_the_base_model_count_even_if_mlmd_does_not_know_them(run):
    base = run.state("teacher", run.span(None, run.read(0, 2)).uri)
    hand_on(base.uri, 3)

    assert model_lineage(run.store, run.train(run.read(4), base).uri).spans == (0, 1, 2, 3, 4)


def test_a_control_that_skips_trainings_learns_their_spans_with_a_later_one(run):
    skipped = run.join(3, "t.g-00002.span-00003.0.aaa")
    base = run.state("control", run.span(None, run.join(2), "control").uri)
    deferred = run.step("TrainingDeferral", [("model", base), ("examples", skipped)], "good_model")[
        "good_model"
    ]
    base = run.state("control", deferred.uri)
    hand_on(base.uri, 3)

    found = model_lineage(run.store, run.train(run.join(4), base, "control").uri)

    assert (found.role, found.spans, found.label_sets) == ("control", (2, 3, 4), ())


def test_a_student_names_its_label_sets_and_their_teachers_in_the_order_of_training(run):
    sets = [f"big.f00-{span - 1:05d}.span-{span:05d}.0.abc" for span in range(6)]
    good = run.span(None, run.join(2, sets[2]), "student")
    kept = run.span(good, run.join(3, sets[3]), "student", blessed=False)
    lost = run.span(kept, run.join(4, sets[4]), "student", blessed=False)
    base = run.state("student", lost.uri)
    hand_on(base.uri, 3)

    found = model_lineage(run.store, run.train(run.join(5, sets[5], sets[2]), base, "student").uri)

    assert (found.role, found.surface, found.spans) == ("student", "tab_1", (2, 3, 5))
    assert found.label_sets == (sets[2], sets[3], sets[5]), (
        "span 4 was not handed on, and each set is named once"
    )
    assert found.teachers == ("big.f00-00001", "big.f00-00002", "big.f00-00004")


def test_a_pushed_folder_leads_to_the_model_that_was_pushed(run):
    model = run.train(run.join(2), run.state("student", ""), "student")
    other = run.train(run.join(3), run.state("student", ""), "student")
    folder = run.root / "serving" / "tab_1" / "17"
    run.push(other, folder.with_name("18"))
    pushed = run.push(model, folder)

    assert model_lineage(run.store, str(folder)) == model_lineage(run.store, model.uri)
    assert model_lineage(run.store, pushed.uri).uri == model.uri


def test_the_chain_goes_on_in_the_root_that_an_artifact_comes_from(run, tmp_path):
    surfaces = Run(tmp_path / "surfaces", graph=run.graph.uri)
    teacher = run.span(None, run.read(0, 2))
    student = surfaces.span(None, surfaces.join(3), "student")
    adopted = surfaces.state("teacher", teacher.uri)

    found = model_lineage(surfaces.store, student.uri)

    assert found.transform_graph.startswith(f"{run.root}/artifacts/Transform/")
    assert found.schema == run.schema.uri
    assert model_lineage(surfaces.store, adopted.uri).spans == (0, 1, 2)


def test_a_teacher_that_read_the_span_may_not_label_it_whatever_its_state_says(run):
    burnt_in = run.span(None, run.read(0, 2))
    reader = run.train(run.read(3), run.state("teacher", burnt_in.uri))
    good = run.span(reader, run.read(4))
    (state := Path(good.uri, "training-state", "state.json")).parent.mkdir(parents=True)
    state.write_text(json.dumps({"spans": [0, 1, 2]}))

    with pytest.raises(BadInput, match=r"labels of span 3: the teacher has trained on the span") as refused:
        refuse_leaking_teacher(run.store, good.uri, 3)

    got = f"got {good.uri}: Trainer execution {Path(reader.uri).name} read span 3."
    assert got in str(refused.value)
    with pytest.raises(BadInput, match=r"labels of span 1: the teacher has trained on the span"):
        refuse_leaking_teacher(run.store, burnt_in.uri, 1)
    refuse_leaking_teacher(run.store, good.uri, 5)
    refuse_leaking_teacher(run.store, burnt_in.uri, 3)


def test_a_teacher_that_learnt_the_span_belatedly_may_not_label_it(run):
    base = run.state("teacher", run.span(run.span(None, run.read(0, 2)), run.read(3), blessed=False).uri)
    hand_on(base.uri, 3)
    after = run.train(run.read(4), base)

    refuse_leaking_teacher(run.store, base.uri, 3)
    with pytest.raises(BadInput, match=r"labels of span 3: the teacher has trained on the span"):
        refuse_leaking_teacher(run.store, after.uri, 3)


def test_the_labelling_model_is_the_one_handed_out_in_that_run(run):
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


def test_examples_are_refused_as_no_model(run):
    with pytest.raises(BadInput, match=r"not a model: expected .*, got an artifact of type Examples\."):
        model_lineage(run.store, run.read(3).uri)


def test_the_empty_marker_leaks_nothing_and_is_no_model(run):
    marker = run.state("teacher", "").uri

    refuse_leaking_teacher(run.store, marker, 3)
    with pytest.raises(BadInput, match=r"not a model: .* got the empty marker: there is no model yet\."):
        model_lineage(run.store, marker)


def test_a_model_of_an_unknown_kind_of_step_is_refused(run):
    with pytest.raises(BadInput, match=r"not a model: expected .*, got an output of Importer\."):
        model_lineage(run.store, run.step("Importer", [], "model")["model"].uri)


def test_what_a_killed_training_has_left_is_unknown(run):
    left = run.train(run.read(3), run.state("teacher", ""), finished=False)

    with pytest.raises(BadInput, match=rf"{left.uri}: unknown to MLMD"):
        model_lineage(run.store, left.uri)


def test_a_chain_that_breaks_off_is_no_answer(run):
    orphan = run.state("teacher", "/gone/artifacts/CandidateCheck_teacher/good_model/8")

    with pytest.raises(
        BadInput, match=r"/gone/artifacts/CandidateCheck_teacher/good_model/8: unknown to MLMD"
    ):
        refuse_leaking_teacher(run.store, orphan.uri, 3)


def test_a_job_of_another_version_is_refused(run):
    run.jobs = {"teacher": '{"role": "teacher", "era": 7}'}

    with pytest.raises(BadInput, match=r"Trainer execution \d+: the training job cannot be read"):
        model_lineage(run.store, run.train(run.read(3), run.state("teacher", "")).uri)


@pytest.fixture
def tell():
    """Runs `rankdistill lineage`."""

    def run_command(*arguments):
        runner = click.testing.CliRunner()
        return runner.invoke(lineage, list(map(str, arguments)), catch_exceptions=False).output

    return run_command


def test_the_command_prints_a_table_and_json(run, tell):
    one, two = (f"big.f00-{span - 1:05d}.span-{span:05d}.0.abc" for span in (2, 3))
    good = run.span(run.span(None, run.join(2, one), "student"), run.join(3, two), "student")
    good = run.span(good, run.join(6), "student")
    run.push(good, run.root / "serving" / "tab_1" / "17")

    table = [" ".join(line.split()) for line in tell(good.uri).splitlines()]
    printed = json.loads(tell(run.root / "serving" / "tab_1" / "17", "--root", run.root, "--json"))

    assert {"role student of tab_1", "trained on spans 2:3, 6", "trainings 3", f"label sets {one}"} <= set(
        table
    )
    assert "teacher versions big.f00-00001" in table
    assert table[table.index("teacher versions big.f00-00001") + 1] == "big.f00-00002"
    assert (printed["uri"], printed["spans"], printed["label_sets"]) == (good.uri, [2, 3, 6], [one, two])
    assert f"schema {printed['schema']}" in table


def test_the_command_says_where_a_root_was_looked_for(tmp_path, tell):
    with pytest.raises(BadInput, match=rf"{tmp_path}/model: no run's root above the model: .* --root\."):
        tell(tmp_path / "model")


def test_a_root_without_metadata_or_with_something_else_is_refused(run, tmp_path, tell):
    with pytest.raises(BadInput, match=r"no readable MLMD: expected .*, got no such file\."):
        tell(run.state("teacher", "").uri, "--root", tmp_path)
    (tmp_path / "metadata.sqlite").write_text("no database")
    with pytest.raises(BadInput, match=r"no readable MLMD: .*, got .*file is not a database\."):
        open_metadata(tmp_path)


def test_the_root_is_the_nearest_folder_with_metadata(run, tmp_path):
    assert find_root(run.root / "artifacts" / "Trainer" / "model" / "7") == run.root
    assert find_root(run.root) == run.root
    assert find_root(tmp_path) is None


def test_the_question_is_answered_without_tfx_and_tensorflow(run):
    good = run.span(None, run.read(0, 2))
    program = (
        "import sys; from pipeline.commands.lineage import lineage; "
        f"lineage([{good.uri!r}, '--json'], standalone_mode=False); "
        "sys.exit(bool({'tfx', 'tensorflow'} & set(sys.modules)))"
    )
    asked = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, cwd=Path(__file__).parents[3], check=False
    )

    assert asked.returncode == 0, asked.stderr.decode()
    assert json.loads(asked.stdout)["spans"] == [0, 1, 2]
