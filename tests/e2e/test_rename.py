"""A renamed surface goes on with its student, its control and its served model."""

import dataclasses
import shutil

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from components.span_records import read_record, recorded_spans
from components.transforms.join_report import read_join_report
from eventlog.errors import BadInput
from eventlog.spans import span_files
from models.state import STATE_FOLDER, read_state_record
from pipeline.config_file import load_deployment
from pipeline.driver.loop import Loop
from pipeline.driver.progress import Progress
from pipeline.observation.lineage import model_lineage, open_metadata
from pipeline.paths import RunPaths
from tests.comparing import assert_bit_equal

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def renamed_log(small_log, tmp_path_factory):
    """The small log; from span 8 on, the surface `tab_1` is called `home`."""
    log = tmp_path_factory.mktemp("renamed") / "log"
    shutil.copytree(small_log, log)
    (file,) = span_files(log, 8)
    rows = pq.read_table(file, partitioning=None)
    named = pc.replace_substring_regex(rows["surface"].cast(pa.string()), "^tab_1$", "home")
    pq.write_table(rows.set_column(rows.column_names.index("surface"), "surface", named), file)
    return log


@pytest.fixture
def continued(finished_run, tmp_path):
    """A function that continues a copy of the finished run on a log; the copy has no artifacts of its own."""

    def continue_run(name, log, deployment):
        root = tmp_path / name
        shutil.copytree(finished_run.root, root, ignore=shutil.ignore_patterns("artifacts"))
        paths = RunPaths(root=root, events=log)
        with (tmp_path / f"{name}.txt").open("w") as progress:
            return paths, Loop(deployment, paths, Progress(Console(file=progress))).catch_up(range(4, 9))

    return continue_run


def with_surfaces(deployment, **surfaces):
    return dataclasses.replace(deployment, surfaces=surfaces)


def test_a_renamed_surface_trains_as_if_it_had_kept_its_name(
    small_config, small_log, renamed_log, finished_run, continued
):
    before = load_deployment(small_config)
    tab_1, tab_0 = before.surfaces["tab_1"], before.surfaces["tab_0"]
    after = with_surfaces(before, home=dataclasses.replace(tab_1, was="tab_1"), tab_0=tab_0)
    plain, (done, errors) = continued("plain", small_log, before)
    assert (done, errors) == ([8], {})
    renamed, (done, errors) = continued("renamed", renamed_log, after)
    assert (done, errors) == ([8], {})

    assert recorded_spans(renamed.records, "home") == [8]
    assert recorded_spans(renamed.records, "tab_1") == [4, 5, 6, 7]
    states = {
        role: [
            f"{read_record(paths.records, surface, 8).slots[role]}/{STATE_FOLDER}"
            for paths, surface in ((plain, "tab_1"), (renamed, "home"))
        ]
        for role in ("student", "control")
    }
    assert assert_bit_equal(*states["control"], "control") > 20
    # The teacher has the surface as a feature, so its labels of `home` differ from those of `tab_1`.
    one, other = map(read_state_record, states["student"])
    assert (one.step, one.spans) == (other.step, other.spans)
    reports = [
        read_join_report(read_record(paths.records, surface, 8).slots["examples"])
        for paths, surface in ((plain, "tab_1"), (renamed, "home"))
    ]
    assert reports[0].labelled_matured_rows == reports[1].labelled_matured_rows > 0

    lineage = model_lineage(
        open_metadata(renamed.root), read_record(renamed.records, "home", 8).slots["student"]
    )
    assert (lineage.surface, lineage.spans) == ("home", (2, 3, 4, 5, 6, 7, 8))
    assert len(lineage.label_sets) == 5
    served = [
        {path.name for path in (paths.root / "serving" / surface).iterdir()}
        for paths, surface in ((finished_run, "tab_1"), (renamed, "home"))
    ]
    newest = max(served[0])
    assert newest in served[1], "the served model goes on before the first push"
    assert all(name.isdigit() for name in served[1])


def test_a_wrong_earlier_name_is_refused_and_others_go_on(small_config, small_log, continued):
    before = load_deployment(small_config)
    wrong = dataclasses.replace(before.surfaces["tab_1"], was="tab_9")
    deployment = with_surfaces(before, tab_4=wrong, tab_0=before.surfaces["tab_0"])
    paths, (done, errors) = continued("wrong", small_log, deployment)
    assert done == [8]
    assert str(errors["tab_4"]).startswith(
        "surfaces.tab_4.was: no earlier surface: expected one of tab_0, tab_1, got 'tab_9'"
    )
    assert recorded_spans(paths.records, "tab_0")[-1] == 8


def test_the_earlier_name_is_no_surface_of_the_configuration(small_config):
    deployment = load_deployment(small_config)
    again = dataclasses.replace(deployment.surfaces["tab_0"], was="tab_1")
    with pytest.raises(ValueError, match=r"surfaces\.tab_0\.was must be no surface of the configuration"):
        with_surfaces(deployment, tab_1=deployment.surfaces["tab_1"], tab_0=again)


def test_a_name_that_no_row_has_is_refused(small_config, small_log, continued):
    before = load_deployment(small_config)
    home = dataclasses.replace(before.surfaces["tab_1"], was="tab_1")
    deployment = with_surfaces(before, tab_11=home, tab_0=before.surfaces["tab_0"])
    paths, (done, errors) = continued("typo", small_log, deployment)
    assert done == [8]
    assert "rows of 'tab_11' in spans 8 to 8" in str(errors["tab_11"])
    assert not (paths.root / "serving" / "tab_11").exists()
    assert isinstance(errors["tab_11"], BadInput)
