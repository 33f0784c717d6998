"""A fleet of processes trains the same models as one process; a new surface starts with past label sets."""

import subprocess
import sys

import numpy as np
import pytest
import yaml

from components.label_store.schemes import open_store
from components.span_records import TEACHER, read_record, recorded_spans
from components.transforms.join_report import read_join_report
from eventlog.simulator import simulate
from models.state import STATE_FOLDER
from models.state import read_state_record as read_state
from pipeline.config_file import load_deployment
from pipeline.paths import RunPaths
from tests.chaos.world import SURFACES, write_config
from tests.comparing import variables_of

pytestmark = pytest.mark.chaos

BURN_IN = [2, 3]
SPANS = [4, 5, 6, 7]
NEW, FIRST_OF_NEW = "tab_4", 5
# In the order of the file: YAML sorts the surfaces.
MEMBERS = {TEACHER: (TEACHER,), "students-0": ("tab_0",), "students-1": ("tab_1",)}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fleet")
    simulate(folder / "log", spans=SPANS[-1] + 1, examples_per_span=600, seed=4)
    config = write_config(folder / "fleet.yaml")
    document = yaml.safe_load(config.read_text())
    document["surfaces"][NEW] = {"first_spans": f"{FIRST_OF_NEW}:{SPANS[-2]}"}
    (folder / "with-new.yaml").write_text(yaml.safe_dump(document))
    return folder


def rankdistill(world, command, config, root, *options):
    arguments = ["--config", str(world / config), "--events", str(world / "log"), "--root", str(world / root)]
    subprocess.run(
        [sys.executable, "-m", "rankdistill", command, *arguments, *options], check=True, timeout=900
    )


@pytest.fixture(scope="module")
def fleet(world):
    rankdistill(world, "fleet", "fleet.yaml", "fleet", "--until-caught-up")
    return {name: RunPaths(world / "fleet" / name, world / "log") for name in MEMBERS}


@pytest.fixture(scope="module")
def alone(world):
    rankdistill(world, "run", "fleet.yaml", "alone")
    return RunPaths(world / "alone", world / "log")


@pytest.fixture(scope="module")
def store(world):
    paths = RunPaths(world / "fleet", world / "log")
    return paths.label_store(load_deployment(world / "fleet.yaml").label_store)


def state_of(paths, branch, role, span=SPANS[-1]):
    return f"{read_record(paths.records, branch, span).slots[role]}/{STATE_FOLDER}"


@pytest.mark.parametrize("member", MEMBERS)
def test_each_process_runs_only_its_branches(fleet, member):
    for branch in (TEACHER, *SURFACES):
        expected = SPANS if branch in MEMBERS[member] else []
        assert recorded_spans(fleet[member].records, branch) == expected


def test_the_processes_share_one_label_set_per_span(world, fleet, alone, store):
    own_store = alone.label_store(load_deployment(world / "fleet.yaml").label_store)
    shared, of_one_process = (open_store(uri).list_sets() for uri in (store, own_store))
    assert [record.key.span for record in shared] == SPANS
    assert [record.checksum for record in shared] == [record.checksum for record in of_one_process]


@pytest.mark.parametrize("role", ["student", "control"])
@pytest.mark.parametrize("member", ["students-0", "students-1"])
def test_a_surface_in_its_own_process_gets_the_same_model_as_in_one_process(fleet, alone, member, role):
    (surface,) = MEMBERS[member]
    apart, together = (state_of(paths, surface, role) for paths in (fleet[member], alone))
    assert read_state(apart) == read_state(together)
    expected = variables_of(together)
    for name, value in variables_of(apart).items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-4, atol=1e-6, err_msg=name)


def test_a_new_surface_starts_with_past_label_sets_and_continues(world, fleet, store):
    options = ["--branch", NEW, "--teacher-root", str(world / "fleet" / TEACHER), "--until-caught-up"]
    options += ["--label-store", store]
    rankdistill(world, "serve-loop", "with-new.yaml", "new", *options)
    paths = RunPaths(world / "new", world / "log")

    assert recorded_spans(paths.records, NEW) == SPANS[1:]
    assert read_state(state_of(paths, NEW, "student")).spans == [*BURN_IN, *SPANS[1:]]
    for span in SPANS[1:]:
        report = read_join_report(read_record(paths.records, NEW, span).slots["examples"])
        assert (report.decision, report.coverage) == ("joined", 1.0)
