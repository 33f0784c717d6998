import dataclasses
import re
import shutil
import subprocess

import pytest

from eventlog.errors import BadInput
from experiments.report.experiment_page import experiment_page
from experiments.report.results import write_results
from experiments.statistics.comparison import SEEDS_ONLY, ResultRow

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ABOUT = {
    "title": "strategy: one student for all surfaces",
    "protocol": "Burn-in 0:4; <ten> seeds.",
    "choices": {
        "control": {
            "point": {"learning_rate": 0.1, "passes": 2, "input_dropout": 0.0, "soft_weight": 1.0},
            "criterion": 0.05,
            "front": [],
        }
    },
    "curves": {"click": {"control": [[0.1, 0.6], [0.2, 0.5]], "auxiliary-logit": [[0.1, 0.6], [0.1, 0.6]]}},
    "costs": {
        name: {"is_teacher": name == "teacher", "seconds": seconds, "num_parameters": 9, "flops_per_row": 8.0}
        for name, seconds in (("teacher", 30.0), ("control", 5.0), ("auxiliary-logit", 6.0))
    },
}
GAIN = ResultRow(
    "strategy", "auxiliary-logit", "all", "click", "auc", 10, 0.7123, 0.70, 0.72, versus="control",
    difference=0.0111, difference_low=0.005, difference_high=0.015, positives=900, p_holm=0.012,
)  # fmt: skip
OWN = dataclasses.replace(
    GAIN, versus="", difference=None, difference_low=None, difference_high=None, p_holm=None
)
RARE = {"task": "comment", "note": "no evidence: 12 positives", "p_holm": None}
ROWS = [
    OWN,
    GAIN,
    dataclasses.replace(GAIN, interval=SEEDS_ONLY, difference=0.9, p_holm=None),
    dataclasses.replace(OWN, **RARE),
    dataclasses.replace(GAIN, **RARE),
    ResultRow("strategy", "auxiliary-logit", "all", "click", "calibration", 10, 1.02, 1.0, 1.04),
]


@pytest.fixture
def page(tmp_path):
    write_results(tmp_path / "out", ROWS, ABOUT)
    return experiment_page(tmp_path / "out")


def test_the_page_shows_primary_comparisons_surfaces_and_the_papers_figures(page):
    primary, rest = page.split("Surface all")
    assert "+0.0111 [+0.0050, +0.0150]" in primary and "0.012" in primary
    assert "all, click: difference of auc" in rest
    assert "comment: difference of auc" not in rest
    assert "no evidence: 12 positives" in rest
    assert "12.15" in rest
    assert "0.9000" not in page


def test_the_page_is_self_contained_and_escapes_text(page):
    assert "<script" not in page
    links = re.findall(r'(?:src|href)="([^"#][^"]*)"', page)
    assert set(links) <= {"data:,"}
    assert "&lt;ten&gt;" in page


def test_the_cost_section_has_a_chart_over_fleet_sizes(page):
    assert "by number of students" in page
    assert page.split("<h2>Cost</h2>")[1].count("<svg") == 1


def test_the_calibration_section_has_ratios_and_curves(page):
    section = page.split("<h2>Calibration</h2>")[1].split("<h2>")[0]
    assert "1.0200 [1.0000, 1.0400]" in section
    assert section.count("<svg") == 1 and "click, all surfaces" in section
    assert all(name in section.split("<svg")[1] for name in ("control", "auxiliary-logit"))


def test_a_folder_without_results_is_refused(tmp_path):
    with pytest.raises(BadInput, match=r"results\.json: no results: expected results of"):
        experiment_page(tmp_path)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("width", [1280, 400])
def test_chromium_shows_the_page_without_console_messages_or_horizontal_scrolling(page, tmp_path, width):
    report_width = "parent.postMessage(document.documentElement.scrollWidth + '/' + innerWidth, '*')"
    (tmp_path / "page.html").write_text(page.replace("</body>", f"<script>{report_width}</script></body>"))
    # In a frame, because Chromium's window is at least 500 pixels wide.
    (tmp_path / "frame.html").write_text(
        "<!DOCTYPE html><link rel=icon href=data:,><script>onmessage = event => document.title = event.data"
        f'</script><iframe style="border:0;width:{width}px;height:900px" src="page.html"></iframe>'
    )
    shown = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom",
         "--virtual-time-budget=5000", f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1400,900",
         (tmp_path / "frame.html").as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert "CONSOLE" not in shown.stderr
    scrolled, inner = map(int, re.search(r"<title>(\d+)/(\d+)</title>", shown.stdout).groups())
    assert inner == width and scrolled <= width
