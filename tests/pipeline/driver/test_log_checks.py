"""Checks of the event log against a deployment, on a small simulated log."""

import dataclasses

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eventlog.errors import BadInput
from eventlog.simulator import simulate
from eventlog.spans import count_labels, count_surfaces, span_files
from pipeline.config_file import load_deployment
from pipeline.driver.log_checks import (
    InputNotReady,
    find_log_faults,
    require_rows,
    require_rows_in_first_span,
)
from pipeline.observation.surfaces import describe_shares, surfaces_without_student
from tests.conftest import REPOSITORY


@pytest.fixture
def log(tmp_path):
    simulate(tmp_path / "log", spans=4, examples_per_span=200, seed=1)
    return tmp_path / "log"


@pytest.fixture
def deployment():
    shipped = load_deployment(REPOSITORY / "pipeline" / "configs" / "demo.yaml")
    return dataclasses.replace(shipped, burn_in="2:3")


def change(log, span, name, column):
    (file,) = span_files(log, span)
    table = pq.read_table(file, partitioning=None)
    pq.write_table(table.set_column(table.column_names.index(name), name, column(table)), file)


def checked(deployment, log):
    """Spans with their numbers of rows; raises the only fault."""
    spans = {}
    faults = find_log_faults(deployment, log, spans.__setitem__)
    assert len(faults) <= 1
    if faults:
        raise faults[0]
    return spans


def test_a_log_with_all_that_the_deployment_needs_is_accepted(deployment, log):
    assert checked(deployment, log) == {0: 200, 1: 200, 2: 200, 3: 400}


def test_every_span_is_checked(deployment, log):
    change(log, 0, "hour", lambda table: table["hour"].cast(pa.string()))
    with pytest.raises(BadInput, match=r"span=0/part-00000\.parquet: wrong type of column hour"):
        checked(deployment, log)


def test_all_faults_of_the_log_are_found_at_once(deployment, log):
    change(log, 0, "hour", lambda table: table["hour"].cast(pa.string()))
    surfaces = {"tab1": deployment.surfaces["tab_1"], **deployment.surfaces}
    changed = dataclasses.replace(deployment, surfaces=surfaces, burn_in="1:2")
    spans = {}
    faults = find_log_faults(changed, log, spans.__setitem__)
    assert spans == {0: None, 1: 200, 2: 200, 3: 400}
    assert [str(fault).partition(": expected")[0].rpartition("/")[2] for fault in faults] == [
        "part-00000.parquet: wrong type of column hour",
        "log, spans 1 to 2: no label of task ltv",
        "surfaces.tab1: a surface without rows",
    ]


def test_the_rows_of_a_faulty_burn_in_are_not_counted(deployment, log):
    change(log, 2, "hour", lambda table: table["hour"].cast(pa.string()))
    surfaces = {"tab1": deployment.surfaces["tab_1"]}
    (fault,) = find_log_faults(dataclasses.replace(deployment, surfaces=surfaces), log, lambda *_: None)
    assert "wrong type of column hour" in str(fault)


def test_the_log_must_have_the_burn_in(deployment, log):
    with pytest.raises(InputNotReady, match="the burn-in needs span 4"):
        checked(dataclasses.replace(deployment, burn_in="2:4"), log)


def test_a_task_without_a_label_in_the_burn_in_is_refused(deployment, log):
    with pytest.raises(
        BadInput, match=r"spans 0 to 2: no label of task ltv: expected values in column label_"
    ):
        checked(dataclasses.replace(deployment, burn_in="0:2"), log)


def test_a_task_without_a_label_on_a_surface_is_refused(deployment, log):
    def nulls_on_tab_0(table):
        pairs = zip(table["surface"].to_pylist(), table["label_ltv"].to_pylist(), strict=True)
        return pa.array([None if surface == "tab_0" else label for surface, label in pairs], pa.float32())

    change(log, 3, "label_ltv", nulls_on_tab_0)
    with pytest.raises(BadInput, match=r"spans 2 to 3: no label of task ltv on tab_0: "):
        checked(deployment, log)


def test_a_surface_without_rows_is_refused_with_a_similar_name(deployment, log):
    surfaces = {"tab1": deployment.surfaces["tab_1"]}
    with pytest.raises(BadInput, match=r"surfaces\.tab1: a surface without rows: .* Did you mean 'tab_1'\?"):
        checked(dataclasses.replace(deployment, surfaces=surfaces), log)
    with pytest.raises(BadInput, match=r"Rename the surface\. For a new surface, set burn_in: false"):
        require_rows(log, range(2), "home")


def test_a_surface_without_burn_in_may_begin_later(deployment, log):
    later = dataclasses.replace(deployment.surfaces["tab_1"], burn_in=False)
    checked(dataclasses.replace(deployment, surfaces=deployment.surfaces | {"home": later}), log)


def test_the_first_span_of_a_surface_has_rows_of_it(deployment, log):
    def starting(first_spans):
        surface = dataclasses.replace(deployment.surfaces["tab_1"], first_spans=first_spans)
        return dataclasses.replace(deployment, burn_in="0:2", surfaces={"tab_1": surface, "tab1": surface})

    require_rows_in_first_span(starting("3:3"), log, "tab_1")
    require_rows_in_first_span(starting("9:9"), log, "tab1")
    with pytest.raises(BadInput, match=r"expected rows of 'tab1' in spans 3 to 3.* Did you mean 'tab_1'"):
        require_rows_in_first_span(starting("3:3"), log, "tab1")
    (file,) = span_files(log, 3)
    file.write_bytes(b"torn")
    require_rows_in_first_span(starting("3:3"), log, "tab1")


def test_labels_are_counted_by_surface_and_task(log):
    rows, labels = count_surfaces(log, [3]), count_labels(log, [3], ["click", "ltv"])
    assert set(labels) == set(rows)
    assert sum(counts["click"] for counts in labels.values()) == 200, "the fresh rows"
    assert sum(counts["ltv"] for counts in labels.values()) == 200, "the matured rows"


def test_surfaces_without_a_student_come_with_their_share(deployment, log):
    rows = count_surfaces(log, [0, 1])
    only_tab_0 = dataclasses.replace(deployment, surfaces={"tab_0": deployment.surfaces["tab_0"]})
    shares = surfaces_without_student(only_tab_0, log, [0, 1, 99])
    assert shares == {name: count / 400 for name, count in rows.items() if name != "tab_0"}
    assert shares["tab_1"] > 0.3
    assert surfaces_without_student(only_tab_0, log, []) == {}


def test_only_the_largest_surfaces_are_listed_one_by_one():
    shares = {"a": 0.3, "b": 0.2, "c": 0.1, "d": 0.02, "e": 0.01}
    of_rows = "of the rows"
    assert (
        describe_shares(shares)
        == f"a (30.0% {of_rows}), b (20.0% {of_rows}), c (10.0% {of_rows}), 2 more (3.0%)"
    )
