import io

import pytest
from rich.console import Console

from models.tasks import Task
from pipeline.observation.summary_table import render_headline, render_summary

BINARY = {
    "teacher": {"auc": 0.7371, "log_loss": 0.5, "calibration": 1.0, "examples": 4000, "positives": 1234},
    "student": {"auc": 0.7142, "log_loss": 0.5, "calibration": 1.0, "examples": 4000, "positives": 1234},
    "control": {"auc": 0.7101, "log_loss": 0.5, "calibration": 1.0, "examples": 4000, "positives": 1234},
    "difference": {"auc": [0.0041, 0.0012, 0.007], "log_loss": [0.0, None, None]},
}
SUMMARY = {
    "spans": [3, 4, 5],
    "surfaces_without_student": {"search": 0.24},
    "surfaces": {
        "home": {
            "coverage": 0.9987,
            "tasks": {
                "click": BINARY,
                "profile_enter": BINARY | {"difference": {"auc": [-0.0041, -0.012, 0.007]}},
                "comment": {"student": {"auc": None, "examples": 9, "positives": 3}},
                "like": BINARY | {"difference": {"auc": [0.0041, None, None]}},
                "ltv": {
                    "student": {"rmse": 1234.5678, "examples": 70},
                    "control": {"rmse": 12.2149, "examples": 70},
                    "difference": {"rmse": [-12.0649, -13.25, -11.5]},
                },
            },
        },
        "feed": {"coverage": None, "tasks": {}},
    },
    "decisions": [
        {"span": 3, "branch": "home", "what": "push", "outcome": "pushed", "reason": "based on the control"},
        {"span": 4, "branch": "home", "what": "join", "outcome": "hard-only", "reason": "no [label] set"},
    ],
    "freshness": {
        "spans": [],
        "percentiles": {
            "teacher": {},
            "home": {
                "event_to_ready": {"p50": 8_640_000.0, "p95": 172_800.0},
                "ready_to_labelled": {"p50": 1.25, "p95": 1200.0},
            },
        },
    },
    "label_sets": [{"id": "big-3-00003-0", "span": 3, "teacher": "big", "rows": 12345, "lag_seconds": 4.25}],
    "seconds": {"Trainer[teacher]": 1234.56},
}


def printed(summary=SUMMARY, **options):
    stream = io.StringIO()
    Console(file=stream, highlight=False, **options).print(render_summary(summary))
    return stream.getvalue()


def line(text, start):
    return next(line for line in text.splitlines() if line.startswith(start))


def test_every_figure_is_in_the_row_of_its_task():
    text = printed(width=80)
    assert line(text, "click").split() == [
        "click", "0.7371", "0.7142", "0.7101", "+0.0041", "[+0.0012,+0.0070]*", "1,234",
    ]  # fmt: skip
    assert line(text, "ltv").split() == ["ltv", "-", "1,234.57", "12.21", "-12.06", "[-13.25,-11.50]*", "-"]
    assert line(text, "comment").split() == ["comment", "-", "-", "-", "-", "3"]
    assert "surface home: coverage 99.9 %" in text
    assert "surface feed: coverage -" in text
    assert "spans 3 to 5" in text


def test_only_an_interval_that_excludes_zero_is_marked():
    text = printed(width=80)
    assert "[-0.0120,+0.0070] " in line(text, "profile_enter")
    assert "*" not in line(text, "profile_enter")
    assert "*" not in line(text, "like")
    assert "+0.0041" in line(text, "like")


def test_a_role_without_figures_has_no_column_and_without_a_control_there_is_no_difference():
    without = {task: {"student": BINARY["student"]} for task in ("click", "like")}
    text = printed(SUMMARY | {"surfaces": {"home": {"coverage": None, "tasks": without}}}, width=80)
    assert line(text, "task").split() == ["task", "student", "positives"]
    assert line(text, "click").split() == ["click", "0.7142", "1,234"]


def test_surfaces_of_the_log_without_a_student_are_listed():
    listed = "surfaces of the event log without a student"
    assert f"{listed}: search (24.0% of the rows)" in printed(width=80)
    assert listed not in printed(SUMMARY | {"surfaces_without_student": {}}, width=80)


def test_only_decisions_that_are_not_routine_are_shown():
    text = printed(width=80)
    assert "decisions that a person should see, all 1\n" in text
    assert line(text, "   4 ").split() == ["4", "home", "join", "hard-only", "no", "[label]", "set"]
    assert "based on the control" not in text
    assert "decisions: all routine" in printed(SUMMARY | {"decisions": SUMMARY["decisions"][:1]}, width=80)


def test_only_the_last_decisions_are_shown():
    many = [SUMMARY["decisions"][1] | {"span": span} for span in range(4, 27)]
    text = printed(SUMMARY | {"decisions": many}, width=80)
    assert "decisions that a person should see, the last 20 of 23\n" in text
    assert (text.count("hard-only"), "   6 home" in text, "   7 home" in text) == (20, False, True)


def test_freshness_has_one_line_per_branch():
    text = printed(width=100)
    assert line(text, "home:") == ("home: ready to labelled 1.2 s / 1,200.0 s")
    assert line(text, "teacher:") == "teacher: -"


def test_label_sets_and_seconds_are_shown():
    text = printed(width=80)
    assert line(text, "   3 ").split() == ["3", "big-3-00003-0", "big", "12,345", "4.2", "s"]
    assert line(text, "Trainer[teacher]").split() == ["Trainer[teacher]", "1,234.6", "s"]


def test_80_columns_are_enough():
    text = printed(width=80)
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "…" not in text


def test_only_a_terminal_gets_control_codes():
    assert "\x1b" not in printed()
    assert "\x1b" in printed(force_terminal=True, color_system="standard")


def test_a_run_without_spans_is_printed():
    empty = {"spans": [], "surfaces": {}, "surfaces_without_student": {}, "label_sets": [], "seconds": {}}
    assert "no spans" in printed(empty | {"decisions": [], "freshness": {"spans": [], "percentiles": {}}})


def headline(summary=SUMMARY, tasks=None):
    tasks = tasks or {
        "comment": Task(kind="binary", group="other", delay=3),
        "click": Task(kind="binary", group="pet"),
        "like": Task(kind="binary", group="pst"),
        "watch": Task(kind="regression", group="pet", unit="seconds"),
    }
    stream = io.StringIO()
    Console(file=stream, highlight=False, width=80).print(render_headline(summary, tasks))
    return stream.getvalue()


def test_the_headline_has_the_first_immediate_task_of_each_kind_on_each_surface():
    text = headline()
    assert line(text, "  click AUC").split() == [
        "click", "AUC", "0.7371", "0.7142", "0.7101", "+0.0041", "[+0.0012,+0.0070]", "better",
    ]  # fmt: skip
    assert "like" not in text and "comment" not in text
    assert text.index("home") < text.index("feed")
    assert "Result, spans 3 to 5" in text
    assert max(map(len, text.splitlines())) <= 80


def test_the_headline_counts_the_other_tasks_and_names_those_that_are_worse():
    worse = BINARY | {"difference": {"auc": [-0.02, -0.03, -0.01]}}
    better = BINARY | {"difference": {"auc": [0.02, 0.01, 0.03]}}
    unclear = BINARY | {"difference": {"auc": [0.02, -0.01, 0.03]}}
    tasks = {name: Task(kind="binary", group="pet") for name in ("click", "like", "share", "save")}
    figures = {"tasks": {"click": better, "like": worse, "share": better, "save": unclear}}
    text = headline(SUMMARY | {"surfaces": {"home": figures}}, tasks)
    assert "The student on other tasks: 1 better, 1 worse (home like), 1 unclear." in text


@pytest.mark.parametrize(
    ("metric", "difference", "verdict"),
    [
        ("auc", [0.01, 0.002, 0.02], "better"),
        ("auc", [-0.01, -0.02, -0.002], "worse"),
        ("rmse", [-0.01, -0.02, -0.002], "better"),
        ("rmse", [0.01, 0.002, 0.02], "worse"),
        ("auc", [0.01, -0.002, 0.02], "unclear"),
        ("auc", [0.01, None, None], "-"),
    ],
)
def test_the_headline_says_whether_the_student_is_better(metric, difference, verdict):
    roles = {role: {metric: 0.5} for role in ("teacher", "student", "control")}
    figures = {"tasks": {"x": roles | {"difference": {metric: difference}}}}
    kind = "binary" if metric == "auc" else "regression"
    text = headline(SUMMARY | {"surfaces": {"home": figures}}, {"x": Task(kind=kind, group="pet")})
    assert line(text, f"  x {metric.upper()}").split()[-1] == verdict
