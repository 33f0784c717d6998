"""Names of runs that label past spans, and spans whose labels were refused."""

import pytest

from components.span_records import RELABELLED, SpanRecord, write_record
from pipeline.driver.relabelling import refused_labels, relabelling_name
from tests.pipeline.conftest import Run


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path)


def test_a_completed_run_gives_the_next_run_another_name(run):
    names = [relabelling_name(run.paths, 5, 0)]
    for execution in range(2):
        labels = {"labels": f"{run.paths.artifacts}/{execution}"}
        write_record(run.paths.records, RELABELLED, SpanRecord(span=5, slots=labels))
        names.append(relabelling_name(run.paths, 5, 0))
        # The record of another version, or of another span, says nothing about this run.
        assert relabelling_name(run.paths, 5, 1) == "relabel-00005-v1"
        assert relabelling_name(run.paths, 6, 0) == "relabel-00006-v0"
    assert names[0] == "relabel-00005-v0"
    assert len(set(names)) == 3, "each run has written other artifacts"


def test_an_interrupted_or_skipped_run_keeps_its_name(run):
    run.relabel(5, 0)
    name = relabelling_name(run.paths, 5, 0)
    assert name == relabelling_name(run.paths, 5, 0)
    run.skip(RELABELLED, 6, "faulty")
    assert relabelling_name(run.paths, 6, 0) == "relabel-00006-v0"


def test_refused_labels_have_their_reason(run):
    assert refused_labels(run.paths, [5]) == {}
    run.relabel(5, 0, labels={"refusal": {"reason": "constant predictions"}})
    run.relabel(6, 0)
    run.relabel(7, 0, labels={"refusal": {"reason": "not asked"}})
    refused = refused_labels(run.paths, [5, 6])
    assert list(refused) == [5]
    assert str(refused[5]).startswith(
        "span 5: no labels published: expected labels that pass their checks, got constant"
    )
