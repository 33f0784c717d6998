"""A run that is killed more than a hundred times ends like an undisturbed one: `make chaos`."""

import collections
import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path

import pytest
import tensorflow as tf
from ml_metadata.proto import metadata_store_pb2
from rich.console import Console
from tfx.dsl.compiler.compiler import Compiler
from tfx.orchestration import metadata

from components.label_store.schemes import open_store
from components.span_records import BURN_IN, TEACHER, read_record, recorded_spans
from models.state import STATE_FOLDER
from models.state import read_state_record as read_state
from pipeline.config_file import load_deployment
from pipeline.dag.pipelines import burn_in_pipeline, span_pipeline, surface_burn_in_pipeline
from pipeline.driver.lock import exclusive_loop_lock
from pipeline.driver.loop import Loop
from pipeline.driver.progress import Progress
from pipeline.observation.decisions import decisions
from pipeline.paths import RunPaths
from tests.chaos.kills import arm, arm_clock, enumerate_kills, random_seconds
from tests.chaos.world import SAMPLE, SPANS, SURFACES, write_config, write_world
from tests.comparing import assert_bit_equal, sets_by_key

pytestmark = pytest.mark.chaos

RUN_SPANS = list(range(4, SPANS))
RANDOM_KILLS, RANDOM_SPANS = (2, 1) if SAMPLE else (20, 4)
KILLS_APART = 11 if SAMPLE else 1  # odd: kills before and after publications alternate
MIN_KILLS, MIN_READS = (6, 10) if SAMPLE else (60, 200)
QUIET_THREADS = 12
"""Threads of imported packages; TensorFlow's runtime and test modules of other folders start more."""
BRANCHES = (TEACHER, *SURFACES)
ROLES = {TEACHER: ("teacher",), **dict.fromkeys(SURFACES, ("student", "control"))}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chaos")
    assert in_child(lambda: write_world(folder), folder / "world.txt") == 0
    return folder


@pytest.fixture(scope="module")
def deployment(world):
    return load_deployment(write_config(world / "chaos.yaml"))


@pytest.fixture(scope="module")
def undisturbed(world, deployment):
    paths = RunPaths(world / "undisturbed", world / "log")
    assert in_child(lambda: run(deployment, paths), world / "undisturbed.txt") == 0
    return paths


@pytest.fixture(scope="module")
def killed(world, deployment):
    """A run that is killed at every point, then at random times, then finishes; a reader runs beside it."""
    paths = RunPaths(world / "killed", world / "log")
    reader = fork(lambda: read_all_the_time(deployment, paths, world / "seen.json"), world / "reader.txt")
    kills = all_kills(deployment, paths)
    for kill in kills:
        status = in_child(lambda kill=kill: run(deployment, paths, lambda: arm(kill)), world / "last.txt")
        assert status == -signal.SIGKILL, f"{kill}: {status}\n{(world / 'last.txt').read_text()[-3000:]}"
    for seconds in random_seconds(RANDOM_KILLS, seed=7):
        clocked = lambda seconds=seconds: run(deployment, paths, lambda: arm_clock(seconds))  # noqa: E731
        assert in_child(clocked, world / "last.txt") == -signal.SIGKILL
    assert in_child(lambda: run(deployment, paths), world / "end.txt") == 0
    (world / "stop").touch()
    assert wait(reader) == 0
    print(f"{len(kills)} enumerated and {RANDOM_KILLS} random kills")
    assert len(kills) + RANDOM_KILLS >= MIN_KILLS
    return paths


def all_kills(deployment, paths):
    burn_ins = (burn_in_pipeline(deployment, paths), surface_burn_in_pipeline(deployment, paths, SURFACES[0]))
    spans = {span: node_ids(span_pipeline(deployment, paths, span)) for span in RUN_SPANS}
    # The random kills need the last spans: in earlier ones they would pass points that are still to come.
    nodes = {dag.pipeline_info.pipeline_name: node_ids(dag) for dag in burn_ins}
    return enumerate_kills(nodes, spans, RUN_SPANS[:-RANDOM_SPANS], SURFACES)[::KILLS_APART]


def node_ids(dag):
    """Node ids in the order in which the compiler puts them and the runner runs them."""
    return [node.pipeline_node.node_info.id for node in Compiler().compile(dag).nodes]


def run(deployment, paths, before=lambda: None):
    tf.config.experimental.enable_op_determinism()
    before()
    with exclusive_loop_lock(paths.root):
        _, errors = Loop(deployment, paths, Progress(Console(file=sys.stdout))).catch_up()
    assert not errors, errors


def read_all_the_time(deployment, paths, report):
    """Reads every published set until the file `stop` exists; counts reads, and lists partial sets."""
    store, num_reads, partial = open_store(paths.label_store(deployment.label_store)), 0, []
    while not (report.parent / "stop").exists():
        for record in store.list_sets():
            ids = [
                value for batch in store.scan(record.set_id, ["example_id"]) for value in batch[0].to_pylist()
            ]
            num_reads += 1
            if len(ids) != record.rows or len(set(ids)) != record.rows:
                partial.append(record.set_id)
        time.sleep(0.5)
    report.write_text(json.dumps({"num_reads": num_reads, "partial": partial}))


def fork(work, log):
    """Runs `work` in a child of this process, which has imported everything."""
    threads = len(list(Path("/proc/self/task").iterdir()))
    assert threads <= QUIET_THREADS, (
        f"{threads} threads: a child would wait for their locks; run `make chaos`, which has few"
    )
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        with log.open("w", buffering=1) as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
            work()
            status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(status)


def wait(child):
    """The child's exit code, negative if a signal killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def in_child(work, log):
    status = wait(fork(work, log))
    if status > 0:
        print(log.read_text()[-3000:])
    return status


def pins(deployment, paths):
    store = open_store(paths.label_store(deployment.label_store))
    return {span: store.find_set(store.read_pin(deployment.fleet, span)).key for span in RUN_SPANS}


def test_every_span_has_one_label_set_equal_by_content(deployment, undisturbed, killed):
    expected = sets_by_key(undisturbed.label_store(deployment.label_store))
    assert [key.span for key in expected] == RUN_SPANS
    assert sets_by_key(killed.label_store(deployment.label_store)) == expected


def test_the_fleet_reads_the_same_sets(deployment, undisturbed, killed):
    assert pins(deployment, killed) == pins(deployment, undisturbed)


def test_every_decision_is_the_same(deployment, undisturbed, killed):
    expected = decisions(deployment, undisturbed)
    assert len(expected) > 5 * len(RUN_SPANS)
    assert decisions(deployment, killed) == expected


@pytest.mark.parametrize("branch", BRANCHES)
def test_weights_slots_and_steps_of_every_span_are_bit_equal(branch, undisturbed, killed):
    assert recorded_spans(killed.records, branch) == recorded_spans(undisturbed.records, branch) == RUN_SPANS
    compared = 0
    for span in RUN_SPANS:
        slots = [read_record(paths.records, branch, span).slots for paths in (undisturbed, killed)]
        for role in ROLES[branch]:
            first, second = (f"{slot[role]}/{STATE_FOLDER}" for slot in slots)
            assert read_state(first) == read_state(second)
            compared += assert_bit_equal(first, second, f"span {span}, {role}")
    assert compared > 10 * len(RUN_SPANS)


def test_the_transform_graph_is_the_same(undisturbed, killed):
    versions = []
    for paths in (undisturbed, killed):
        (span,) = recorded_spans(paths.records, BURN_IN)
        teacher = read_record(paths.records, BURN_IN, span).slots["teacher"]
        versions.append(read_state(f"{teacher}/{STATE_FOLDER}").feature_version)
    assert versions[0] == versions[1]


@pytest.mark.parametrize("branch", BRANCHES)
def test_no_span_is_trained_twice_or_left_out(branch, killed):
    last = read_record(killed.records, branch, RUN_SPANS[-1]).slots
    for role in ROLES[branch]:
        trained = list(read_state(f"{last[role]}/{STATE_FOLDER}").spans)
        shards = (Path(last[role]) / "unlearned").glob("Split-train/span-*")
        deferred = sorted({int(path.name.split("-")[1]) for path in shards})
        assert trained + deferred == [2, 3, *RUN_SPANS]


def test_every_trainer_has_ended_once_a_span(killed):
    config = metadata.sqlite_metadata_connection_config(killed.metadata)
    ended = collections.Counter()
    with metadata.Metadata(config) as handle:
        for run_context in handle.store.get_contexts_by_type("pipeline_run"):
            for execution in handle.store.get_executions_by_context(run_context.id):
                if execution.last_known_state == metadata_store_pb2.Execution.COMPLETE:
                    nodes = handle.store.get_contexts_by_execution(execution.id)
                    (node,) = [
                        context.name
                        for context in nodes
                        if context.name.split(".")[-1].startswith("Trainer_")
                    ] or [""]
                    ended[run_context.name, node] += 1
    trainings = {key: count for key, count in ended.items() if key[1]}
    assert set(trainings.values()) == {1}
    students = [key for key in trainings if "Trainer_student" in key[1]]
    assert len(students) == (1 + len(RUN_SPANS)) * len(SURFACES), "the burn-in and every span"


def test_a_reader_never_sees_a_partial_set(world, killed):
    seen = json.loads((world / "seen.json").read_text())
    assert seen["partial"] == []
    assert seen["num_reads"] > MIN_READS
