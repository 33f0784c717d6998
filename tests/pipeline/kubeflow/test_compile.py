"""Compares the compiled YAML files with golden files. UPDATE_GOLDEN=1 rewrites these; review the diff."""

import dataclasses
import json
import os
import runpy
import subprocess
import sys

import pytest
import tfx.version
import yaml
from google.protobuf import json_format
from kfp import components
from kfp.pipeline_spec import pipeline_spec_pb2

from eventlog.errors import BadInput
from pipeline.cluster import Cluster, Step
from pipeline.config_file import load_deployment
from pipeline.kubeflow.target import compile_all, compile_one
from tests.conftest import REPOSITORY
from tests.pipeline.listing import list_spec

CONFIG = REPOSITORY / "pipeline" / "configs" / "kuairand.yaml"
GOLDEN = REPOSITORY / "tests" / "golden" / "kubeflow"
SURFACES = ("tab_0", "tab_1", "tab_4")
NAMES = sorted(
    [
        "burn-in",
        "fleet",
        "teacher",
        *(f"{kind}-{name}" for kind in ("burn-in", "student") for name in SURFACES),
    ]
)
NEWEST_KFP = "kfp==2.17.3"


@pytest.fixture(scope="module")
def deployment():
    return load_deployment(CONFIG)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The output folder of compile.py, which runs in this process to save an import of TFX."""
    out = tmp_path_factory.mktemp("compiled")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["compile.py", "--config", str(CONFIG), "--out", str(out)])
        runpy.run_path(str(REPOSITORY / "kubeflow" / "compile.py"), run_name="__main__")
    return out


def test_the_script_writes_one_file_per_pipeline(folder):
    assert sorted(path.stem for path in folder.iterdir()) == NAMES


@pytest.mark.parametrize("name", ["burn-in", "student-tab_1"])
def test_the_pipeline_equals_its_golden_listing(folder, name):
    assert_golden(GOLDEN / f"{name}.txt", "\n\n".join(blocks(folder, name).values()) + "\n")


def test_the_teachers_yaml_equals_its_golden_file(folder):
    assert_golden(GOLDEN / "teacher.yaml", (folder / "teacher.yaml").read_text())


def assert_golden(golden, text):
    text = text.replace(f"sdkVersion: tfx-{tfx.version.__version__}", "sdkVersion: tfx-VERSION")
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(text)
    assert text == golden.read_text()


def blocks(folder, name):
    """A pipeline's listing by task, without `DueSpan`, whose parameters hold the whole deployment."""
    listing = list_spec(*yaml.safe_load_all((folder / f"{name}.yaml").read_text()))
    by_task = {block.partition("\n")[0]: block for block in listing.strip().split("\n\n")[1:]}
    by_task.pop("DueSpan", None)
    return by_task


@pytest.mark.parametrize("surface", ["tab_0", "tab_4"])
def test_students_of_two_surfaces_differ_only_in_the_surfaces_name(folder, surface):
    renamed = "\n".join(blocks(folder, "student-tab_1").values()).replace("tab_1", surface)
    renamed = renamed.replace("tab-1", surface.replace("_", "-"))
    assert renamed == "\n".join(blocks(folder, f"student-{surface}").values())


def test_the_fleet_has_the_tasks_of_the_teacher_and_of_each_student(folder):
    fleet, teacher = blocks(folder, "fleet"), blocks(folder, "teacher")
    student_tasks = {name for name in fleet if name.endswith(("-tab-0", "-tab-1", "-tab-4"))}
    for name in teacher.keys() - {"SpanExampleGen"}:
        assert fleet[name] == teacher[name]
    for surface in ("tab_0", "tab_1", "tab_4"):
        student = blocks(folder, f"student-{surface}")
        assert student.keys() - teacher.keys() <= student_tasks
    assert fleet.keys() == teacher.keys() | student_tasks


@pytest.mark.parametrize("name", NAMES)
def test_the_files_parse_strictly_and_load_with_the_installed_kfp(folder, name):
    path = folder / f"{name}.yaml"
    spec, platform = yaml.safe_load_all(path.read_text())
    parsed = json_format.ParseDict(spec, pipeline_spec_pb2.PipelineSpec())
    deployment = json_format.MessageToDict(parsed.deployment_spec)
    json_format.ParseDict(deployment, pipeline_spec_pb2.PipelineDeploymentConfig())

    assert platform.keys() == {"platforms"}
    loaded = components.load_component_from_file(str(path))
    assert loaded.pipeline_spec.pipeline_info.name == f"kuairand-{name}".replace("_", "-")


@pytest.mark.slow
@pytest.mark.kubeflow
def test_the_files_load_with_a_current_kfp(folder):
    program = (
        "import sys; from kfp import __version__, components\n"
        "for path in sys.argv[1:]: components.load_component_from_file(path)\n"
        "print(__version__)"
    )
    paths = [str(folder / f"{name}.yaml") for name in NAMES]
    uv = [sys.executable, "-m", "uv", "run", "--quiet", "--no-project", "--python", sys.executable]
    done = subprocess.run(
        [*uv, "--with", NEWEST_KFP, "python", "-c", program, *paths],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == NEWEST_KFP.partition("==")[2]


def only_container(documents, task):
    label = documents[0]["components"][task]["executorLabel"]
    return documents[0]["deploymentSpec"]["executors"][label]["container"]


def test_steps_get_the_images_resources_and_beam_options_of_the_configuration(deployment):
    flink = ("--runner=FlinkRunner", "--flink_master=flink:8081")
    steps = {
        "Trainer": Step(cpus=3, memory_gib=6),
        "Trainer_teacher": Step(gpus=2, image="rankdistill-gpu:1"),
        "SoftLabelBulkInferrer": Step(beam=flink),
    }
    documents = compile_all(dataclasses.replace(deployment, steps=steps))["fleet"]

    teacher = only_container(documents, "Trainer-teacher")
    assert teacher["image"] == "rankdistill-gpu:1"
    assert teacher["resources"]["accelerator"] == {"type": "nvidia.com/gpu", "count": "2"}
    student = only_container(documents, "Trainer-student-tab-1")
    assert student["image"] == "rankdistill:0.1.0"
    assert student["resources"] == {"cpuLimit": 3.0, "memoryLimit": pytest.approx(6.442, abs=1e-3)}, "in GB"
    options = ["--runner=FnApiRunner", *flink, "--workspace", "/mnt/rankdistill/work"]
    assert only_container(documents, "SoftLabelBulkInferrer")["args"][-5:] == options
    assert "--runner=FlinkRunner" not in only_container(documents, "SpanExampleGen")["args"]
    assert only_container(documents, "Trainer-control-tab-1")["resources"]["cpuLimit"] == 3.0


def test_settings_of_one_step_leave_the_defaults_of_others(deployment):
    changed = dataclasses.replace(deployment, steps={"SoftLabelBulkInferrer": Step(cpus=7)})
    documents = compile_all(changed)["fleet"]

    assert only_container(documents, "SoftLabelBulkInferrer")["resources"]["cpuLimit"] == 7.0
    assert only_container(documents, "Trainer-teacher")["resources"]["cpuLimit"] == 8.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "KuaiRand"}, "name: invalid pipeline name"),
        ({"surfaces": ["Home"]}, "surfaces.Home: invalid pipeline name"),
        ({"surfaces": ["tab_1", "tab-1"]}, "surfaces.tab-1: two surfaces of one name"),
    ],
)
def test_names_that_kubeflow_does_not_accept_are_refused(deployment, change, message):
    if "surfaces" in change:
        change = {"surfaces": dict.fromkeys(change["surfaces"], deployment.surfaces["tab_1"])}
    with pytest.raises(BadInput, match=message):
        compile_all(dataclasses.replace(deployment, **change))


def tasks(spec):
    return spec["root"]["dag"]["tasks"].items()


def test_vertex_ai_gets_the_same_steps_without_kubernetes(deployment):
    vertex = Cluster(
        pipeline_root="gs://bucket/runs", shared="/gcs/bucket/rankdistill", volume="", accelerator="NVIDIA_L4"
    )
    (spec,) = compile_all(dataclasses.replace(deployment, cluster=vertex))["teacher"]
    (kubeflow, _) = compile_all(deployment)["teacher"]

    assert spec["defaultPipelineRoot"] == "gs://bucket/runs"
    assert spec["components"] == kubeflow["components"]
    wiring = [
        {
            name: (task["inputs"].get("artifacts"), task.get("dependentTasks"))
            for name, task in tasks(document)
        }
        for document in (spec, kubeflow)
    ]
    assert wiring[0] == wiring[1]
    assert "/gcs/bucket/rankdistill/root/records" in json.dumps(spec)
    assert "/mnt/" not in json.dumps(spec)


def test_secrets_reach_every_step(deployment):
    cluster = Cluster(secrets={"bigquery": {"key.json": "GOOGLE_CREDENTIALS"}})
    spec, platform = compile_one(dataclasses.replace(deployment, cluster=cluster), "burn-in", ())
    settings = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]

    assert settings.keys() == spec["deploymentSpec"]["executors"].keys()
    for executor in settings.values():
        assert executor["pvcMount"] == [{"constant": "rankdistill", "mountPath": "/mnt/rankdistill"}]
        assert executor["secretAsEnv"] == [
            {
                "secretName": "bigquery",
                "keyToEnv": [{"secretKey": "key.json", "envVar": "GOOGLE_CREDENTIALS"}],
            }
        ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"control_every": 4}, "control_every: a control that skips spans"),
        ({"refused_span": "skip"}, "refused_span: skipping faulty spans"),
        ({"spans_table": "p.d.spans"}, "spans_table: watching a table of spans"),
    ],
)
def test_settings_that_cannot_be_compiled_once_for_all_spans_are_refused(deployment, change, message):
    if "control_every" in change:
        surfaces = {"tab_1": dataclasses.replace(deployment.surfaces["tab_1"], **change)}
        refused = dataclasses.replace(deployment, surfaces=surfaces)
    elif "refused_span" in change:
        refused = dataclasses.replace(
            deployment, validation=dataclasses.replace(deployment.validation, **change)
        )
    else:
        in_bigquery = {"events_table": "p.d.events", "label_store": "bigquery://p/d"}
        refused = dataclasses.replace(deployment, **in_bigquery, **change)
    with pytest.raises(BadInput, match=message):
        compile_all(refused)


@pytest.mark.parametrize(
    ("invalid", "message"),
    [
        (lambda: Cluster(pipeline_root="/tmp/runs"), "pipeline_root must begin with"),
        (lambda: Cluster(shared="mnt"), "shared must be an absolute path"),
        (lambda: Cluster(home="opt"), "home must be an absolute path"),
        (lambda: Cluster(volume="", shared="/mnt/x"), "without a volume"),
        (lambda: Cluster(retries=-1), "greater than or equal to 0"),
        (lambda: Step(cpus=0), "greater than 0"),
    ],
)
def test_an_invalid_cluster_is_refused(invalid, message):
    with pytest.raises(ValueError, match=message):
        invalid()
