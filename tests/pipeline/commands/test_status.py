import json
import subprocess
import sys
import time
from pathlib import Path

import click.testing
import pytest

from components.transforms.join_report import JoinReport
from eventlog.errors import BadInput
from pipeline.commands.status import run_status, status
from pipeline.driver.lock import exclusive_loop_lock

ROOT = Path(__file__).parents[3]
CONFIG = ROOT / "pipeline" / "configs" / "demo.yaml"


def arguments(run, *more):
    return ["--config", str(CONFIG), "--events", str(run.paths.events), "--root", str(run.paths.root), *more]


def answered(run, *more):
    result = click.testing.CliRunner().invoke(status, arguments(run, *more))
    if result.exception is not None:
        raise result.exception
    return result.output


def unlearned(run, role, *spans):
    folder = run.paths.root / "good" / role / "unlearned" / "Split-train"
    folder.mkdir(parents=True)
    for span in spans:
        for shard in range(2):
            (folder / f"span-{span:05d}-{shard:05d}-of-00002.gz").touch()
    return {role: str(run.paths.root / "good" / role)}


def test_a_branch_tells_how_far_it_is_and_what_it_reads(run):
    run.teacher(5, **unlearned(run, "teacher", 5))
    run.teacher(6, teacher=str(run.paths.root / "good" / "other"))
    run.surface(5, **unlearned(run, "control", 3, 5))
    branches = run_status(run.deployment, run.paths)["branches"]
    surface = branches["tab_1"]
    assert 0 <= surface.pop("seconds_since") < 60
    assert surface == {
        "last_span": 5,
        "next_span": 6,
        "spans_behind": 4,
        "unlearned": {"control": [3, 5]},
        "label_set": "big.abc-00004.span-00005.0.0123456789ab",
        "label_age_spans": 1,
        "last_push": 5,
        "decision": None,
    }
    assert branches["teacher"]["label_set"] == "big.abc-00005.span-00006.0.0123456789ab"
    assert (branches["teacher"]["unlearned"], branches["teacher"]["last_push"]) == ({}, None)


def test_a_branch_without_a_record_waits_for_its_first_span(run):
    run.paths.root.mkdir()
    assert run_status(run.deployment, run.paths)["branches"]["tab_0"] == {
        "last_span": None,
        "seconds_since": None,
        "next_span": 5,
        "spans_behind": 5,
        "unlearned": {},
        "label_set": None,
        "label_age_spans": None,
        "last_push": None,
        "decision": None,
    }


def test_the_last_decision_that_a_person_should_see_is_shown(run):
    run.surface(5, discarded={"student": "worse [than before]"})
    run.surface(6)
    run.surface(7, report=JoinReport(surface="tab_1", decision="hard-only", reason="no label set"))
    last = JoinReport(surface="tab_1", decision="last", reason="none")
    run.surface(8, report=last, discarded={"control": "worse [still]"})
    found = run_status(run.deployment, run.paths)["branches"]["tab_1"]
    assert (found["label_set"], found["last_push"]) == ("big.abc-00005.span-00006.0.0123456789ab", 8)
    assert found["decision"]["reason"] == "control: worse [still]"
    assert "tab_1, span 8: candidate discarded: control: worse [still]\n" in answered(run)


def test_a_running_loop_is_seen_and_not_disturbed(run):
    run.paths.root.mkdir()
    assert answered(run).startswith("no loop is running\n")
    with exclusive_loop_lock(run.paths.root):
        pid = (run.paths.root / ".lock").read_text()
        assert run_status(run.deployment, run.paths)["loop"] == {"running": True, "pid": int(pid)}
        assert answered(run).startswith(f"a loop is running, process {pid}\n")
    assert answered(run).startswith(f"no loop is running; the last was process {pid}\n")
    with exclusive_loop_lock(run.paths.root):
        pass


def test_the_table_has_a_line_a_branch(run):
    run.teacher(5)
    run.surface(5, **unlearned(run, "student", 4, 5))
    lines = {line.split()[0]: line.split() for line in answered(run).splitlines()[1:]}
    assert [name for name in lines if name != "branch"] == ["teacher", "tab_1", "tab_0", "tab_4"]
    del lines["tab_1"][2:4]
    assert lines["tab_1"] == [
        "tab_1", "5", "6", "4", "5", "student", "4,", "5", "1", "big.abc-00004.span-00005.0.0123456789ab",
    ]  # fmt: skip
    assert lines["tab_0"] == ["tab_0", "-", "-", "5", "5", "-", "-", "-", "-"]


def test_json_is_the_status(run):
    run.teacher(5)
    shown = json.loads(answered(run, "--json"))
    assert shown["branches"]["teacher"]["last_span"] == 5
    assert shown["loop"] == {"running": False, "pid": None}


def test_a_root_that_is_not_there_is_refused(run):
    with pytest.raises(
        BadInput, match=r"--root .*root: no run: expected the root of a run, got no such folder"
    ):
        answered(run)


def test_the_answer_comes_without_tfx_and_at_once(run):
    run.teacher(5)
    run.surface(5)
    code = (
        "import sys; from pipeline.commands.status import status;"
        "status(sys.argv[1:], standalone_mode=False);"
        "print({'tfx', 'tensorflow', 'apache_beam'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", code, *arguments(run)]
    started = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.endswith("set()\n")
    assert time.monotonic() - started < 10
