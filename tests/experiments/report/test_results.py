import dataclasses
import json

import pyarrow.parquet as pq

from experiments.report.results import write_results
from experiments.statistics.comparison import SEEDS_ONLY, ResultRow, apply_holm_correction

ABOUT = {
    "title": "strategy",
    "protocol": "Ten seeds.",
    "choices": {
        "control": {
            "point": {"learning_rate": 0.1, "passes": 2, "input_dropout": 0.0, "soft_weight": 1.0},
            "criterion": 0.0512,
            "front": [{}],
        }
    },
}
CLICK = ResultRow(
    "strategy", "auxiliary-logit", "all", "click", "auc", 10, 0.7, 0.69, 0.71, versus="control",
    difference=0.01, difference_low=0.005, difference_high=0.015, positives=900, p_holm=0.01,
)  # fmt: skip
RARE = ResultRow(
    "strategy", "control", "all", "comment", "auc", 10, 0.6, 0.4, 0.8, note="no evidence: 12 positives"
)


def test_results_are_written_as_json_parquet_and_markdown(tmp_path):
    write_results(tmp_path, [CLICK, RARE], ABOUT)
    document = json.loads((tmp_path / "results.json").read_text())
    assert document["rows"][0]["difference_low"] == 0.005
    table = pq.read_table(tmp_path / "results.parquet", partitioning=None)
    assert table["difference"].to_pylist() == [0.01, None]
    text = (tmp_path / "results.md").read_text()
    primary, exploratory = text.split("exploratory")
    assert "+0.0100 [+0.0050, +0.0150] | 0.010" in primary
    assert "no evidence: 12 positives" in exploratory
    assert "| control | 0.1 | 2 | 0.0 | 1.0 | 0.0512 | 1 |" in exploratory


def test_the_markdown_shows_intervals_over_seeds_if_there_are_no_others(tmp_path):
    rate = ResultRow(
        "stability", "naive x2", "all", "all", "divergence_rate", 10, 0.5, 0.24, 0.76, interval=SEEDS_ONLY
    )
    write_results(tmp_path, [rate], ABOUT)
    assert "| naive x2 | 0.5000 [0.2400, 0.7600]" in (tmp_path / "results.md").read_text()


def test_only_primary_comparisons_keep_a_p_value():
    other = dataclasses.replace(CLICK, task="like", p_holm=0.04)
    seeds = dataclasses.replace(CLICK, interval=SEEDS_ONLY)
    corrected = apply_holm_correction([CLICK, other, seeds], lambda row: row.task == "click")
    assert [row.p_holm for row in corrected] == [0.01, None, None]
    both = apply_holm_correction([CLICK, other], lambda row: True)
    assert [row.p_holm for row in both] == [0.02, 0.04]
