"""`rankdistill demo` on a terminal: what a newcomer sees."""

import os
import pty
import re
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

LIVE = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")


def run_on_terminal(command, cwd):
    """The exit code of a command on a pseudo-terminal of 80 columns, and the lines that stay on it."""
    reader, writer = pty.openpty()
    environment = os.environ | {"COLUMNS": "80", "LINES": "50", "TERM": "xterm"}
    process = subprocess.Popen(command, cwd=cwd, env=environment, stdin=writer, stdout=writer, stderr=writer)
    os.close(writer)
    output = b""
    while True:
        try:
            output += os.read(reader, 65536)
        except OSError:
            break
    # A carriage return, or an erased line, is overwritten by what follows.
    text = output.replace(b"\r\n", b"\n")
    lines = [LIVE.sub(b"", re.split(rb"\r|\x1b\[2K", line)[-1]).decode() for line in text.split(b"\n")]
    return process.wait(), [line for line in lines if line.strip()]


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    command = [
        sys.executable,
        "-m",
        "rankdistill",
        "demo",
        "--out",
        "runs/demo",
        "--examples-per-span",
        "800",
    ]
    code, lines = run_on_terminal(command, folder)
    return folder / "runs" / "demo", code, lines


def test_it_ends_with_a_table_and_a_page_in_at_most_40_lines(demo):
    folder, code, lines = demo
    assert code == 0, "\n".join(lines)
    assert len(lines) <= 40, "\n".join(lines)
    result = next(number for number, line in enumerate(lines) if line.startswith("Result, spans 5 to 9"))
    rows = [line.split() for line in lines[result:]]
    assert ["tab_1"] in rows and ["tab_0"] in rows
    assert sum(row[:2] == ["click", "AUC"] for row in rows) == 2
    assert "page.html" in lines[-1] and (folder / "page.html").is_file()


def test_nothing_is_shown_of_single_steps(demo):
    _, _, lines = demo
    assert not [line for line in lines if "[1/" in line or "importing" in line], lines


def test_the_page_needs_no_other_file(demo):
    folder, _, _ = demo
    page = (folder / "page.html").read_text()
    assert set(re.findall(r'(?:src|href)="([^"#][^"]*)"', page)) <= {"data:,"}
    assert "click: auc by span" in page and "Coverage" in page and "Lag" in page
