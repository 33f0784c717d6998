"""The labelling benchmark runs and prints its results; its speed is not tested."""

from __future__ import annotations

import json
import logging
import warnings

import pytest

from benchmarks.labelling import main, timed_seconds

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def restored_warnings():
    """The benchmark turns warnings off for the whole process, and other tests check for warnings."""
    with warnings.catch_warnings():
        yield
    logging.disable(logging.NOTSET)


def test_the_last_line_compares_the_three_ways(capsys):
    main(["--examples", "2000"])

    word, _, document = capsys.readouterr().out.splitlines()[-1].partition(" ")
    report = json.loads(document)
    assert (word, report["name"]) == ("BENCH", "labelling")
    rates = report["examples_per_second"]
    assert set(rates) == {"ours", "stock", "limit"}
    assert set(report["ratios"]) == {"stock", "limit"}
    for name, ratio in report["ratios"].items():
        assert 0 < ratio == pytest.approx(rates["ours"] / rates[name], rel=0.05, abs=0.001)


def test_a_way_that_labels_too_few_examples_is_refused(tmp_path):
    def label_some(examples: str, model: str, out) -> int:
        return 1999

    with pytest.raises(
        ValueError, match=r"label_some labelled 1999 of 2000 examples, so its time is not comparable"
    ):
        timed_seconds(label_some, "examples", "model", tmp_path, 2000)
    assert timed_seconds(label_some, "examples", "model", tmp_path, 1999) >= 0
