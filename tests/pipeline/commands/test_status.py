import json
import os
import subprocess
import sys
from pathlib import Path

import click.testing
import pytest

from components.transforms.join_report import JoinReport
from eventlog.errors import BadInput
from pipeline.commands.status import run_status, status
from pipeline.driver.lock import exclusive_loop_lock

ROOT = Path(__file__).parents[3]
CONFIG = ROOT / "pipeline" / "configs" / "kuairand.yaml"


def arguments(run, *more):
    return ["--config", str(CONFIG), "--events", str(run.paths.events), "--root", str(run.paths.root), *more]


def printed(run, *more):
    result = click.testing.CliRunner().invoke(status, arguments(run, *more))
    if result.exception is not None:
        raise result.exception
    return result.output


def deferred(run, role, *spans):
    folder = run.paths.root / "good" / role / "unlearned" / "Split-train"
    folder.mkdir(parents=True)
    for span in spans:
        for shard in range(2):
            (folder / f"span-{span:05d}-{shard:05d}-of-00002.gz").touch()
    return {role: str(run.paths.root / "good" / role)}


def test_a_branch_has_its_progress_and_its_label_set(run, monkeypatch):
    run.teacher(5, **deferred(run, "teacher", 5))
    run.teacher(6, teacher=str(run.paths.root / "good" / "other"))
    run.surface(5, **deferred(run, "control", 3, 5))
    os.utime(Path(run.paths.records, "tab_1", "span-00005.json"), (1_000.0, 1_000.0))
    monkeypatch.setattr("pipeline.commands.status.time.time", lambda: 1_090.5)
    branches = run_status(run.deployment, run.paths)["branches"]
    assert branches["tab_1"] == {
        "last_span": 5,
        "seconds_since": 90.5,
        "next_span": 6,
        "spans_behind": 4,
        "deferred": {"control": [3, 5]},
        "label_set": "big.abc-00004.span-00005.0.0123456789ab",
        "label_age_spans": 1,
        "last_push": 5,
        "decision": None,
    }
    assert branches["teacher"]["label_set"] == "big.abc-00005.span-00006.0.0123456789ab"
    assert (branches["teacher"]["deferred"], branches["teacher"]["last_push"]) == ({}, None)


def test_a_branch_without_a_record_has_only_its_next_span(run):
    run.paths.root.mkdir()
    assert run_status(run.deployment, run.paths)["branches"]["tab_0"] == {
        "last_span": None,
        "seconds_since": None,
        "next_span": 5,
        "spans_behind": 5,
        "deferred": {},
        "label_set": None,
        "label_age_spans": None,
        "last_push": None,
        "decision": None,
    }


def test_the_last_decision_that_is_not_routine_is_shown(run):
    run.surface(5, discarded={"student": "worse [than before]"})
    run.surface(6)
    run.surface(7, report=JoinReport(surface="tab_1", decision="hard-only", reason="no label set"))
    last = JoinReport(surface="tab_1", decision="last", reason="none")
    run.surface(8, report=last, discarded={"control": "worse [still]"})
    branch = run_status(run.deployment, run.paths)["branches"]["tab_1"]
    assert (branch["label_set"], branch["last_push"]) == ("big.abc-00005.span-00006.0.0123456789ab", 8)
    assert branch["decision"]["reason"] == "control: worse [still]"
    assert "tab_1, span 8: candidate discarded: control: worse [still]\n" in printed(run)


def test_a_running_loop_is_reported_and_not_disturbed(run):
    run.teacher(5)
    assert printed(run).startswith("no loop is running\n")
    with exclusive_loop_lock(run.paths.root):
        pid = (run.paths.root / ".lock").read_text()
        assert run_status(run.deployment, run.paths)["loop"] == {"running": True, "pid": int(pid)}
        assert printed(run).startswith(f"a loop is running, process {pid}\n")
    assert printed(run).startswith(f"no loop is running; the last was process {pid}\n")
    with exclusive_loop_lock(run.paths.root):
        pass


def test_the_table_has_one_line_per_branch(run):
    run.teacher(5)
    run.surface(5, **deferred(run, "student", 4, 5))
    lines = {line.split()[0]: line.split() for line in printed(run).splitlines()[1:]}
    assert [name for name in lines if name != "branch"] == ["teacher", "tab_1", "tab_0", "tab_4"]
    del lines["tab_1"][2:4]
    assert lines["tab_1"] == [
        "tab_1", "5", "6", "4", "5", "student", "4,", "5", "1", "big.abc-00004.span-00005.0.0123456789ab",
    ]  # fmt: skip
    assert lines["tab_0"] == ["tab_0", "-", "-", "5", "5", "-", "-", "-", "-"]


def test_json_has_the_status(run):
    run.teacher(5)
    document = json.loads(printed(run, "--json"))
    assert document["branches"]["teacher"]["last_span"] == 5
    assert document["loop"] == {"running": False, "pid": None}


def test_a_missing_root_is_refused(run):
    with pytest.raises(
        BadInput, match=r"--root .*root: no run: expected the root of a run, got no such folder"
    ):
        printed(run)


def test_the_command_imports_neither_tfx_nor_tensorflow_nor_beam(run):
    run.teacher(5)
    run.surface(5)
    code = (
        "import sys; from pipeline.commands.status import status;"
        "status(sys.argv[1:], standalone_mode=False);"
        "print({'tfx', 'tensorflow', 'apache_beam'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", code, *arguments(run)]
    completed = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert completed.stdout.endswith("set()\n")
