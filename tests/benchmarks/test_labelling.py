"""The labelling benchmark runs and reports; how fast anything is belongs to no test."""

from __future__ import annotations

import json
import logging
import warnings

import pytest

from benchmarks.labelling import _timed, main

pytestmark = pytest.mark.e2e


@pytest.fixture(autouse=True)
def loud_again():
    """The benchmark silences its whole process, and other suites look for warnings in it."""
    with warnings.catch_warnings():
        yield
    logging.disable(logging.NOTSET)


def test_the_last_line_says_how_the_three_ways_compare(capsys):
    main(["--examples", "2000"])

    word, _, document = capsys.readouterr().out.splitlines()[-1].partition(" ")
    report = json.loads(document)
    assert (word, report["name"]) == ("BENCH", "labelling")
    rates = report["examples_per_second"]
    assert set(rates) == {"ours", "stock", "limit"}
    assert set(report["ratios"]) == {"stock", "limit"}
    for name, ratio in report["ratios"].items():
        assert 0 < ratio == pytest.approx(rates["ours"] / rates[name], rel=0.05, abs=0.001)


def test_a_way_that_labelled_another_number_of_examples_is_not_timed(tmp_path):
    def label_some(examples: str, model: str, out) -> int:
        return 1999

    with pytest.raises(ValueError, match=r"label_some labelled 1999 of 2000 examples; it cannot be compared"):
        _timed(label_some, "examples", "model", tmp_path, 2000)
    assert _timed(label_some, "examples", "model", tmp_path, 1999) >= 0
