"""`rankdistill demo` on a terminal: what a newcomer sees."""

import os
import pty
import re
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

TOKEN = re.compile(r"(\x1b\[[0-9;?]*[A-Za-z]|\r|\n)")


def lines_on_terminal(output):
    """The lines that stay on a terminal: `\\r` and erasing overwrite a line, rich's live lines move up."""
    lines, row = [""], 0
    for token in TOKEN.split(output):
        if token == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif token in ("\r", "\x1b[2K"):
            lines[row] = "" if token == "\x1b[2K" else lines[row]
        elif token == "\x1b[1A":
            row = max(row - 1, 0)
        elif not token.startswith("\x1b"):
            lines[row] += token
    return lines


def test_a_live_line_leaves_nothing_on_the_terminal():
    live = "a\r\n\x1b[?25lone\r\x1b[2Ktwo\r\n\x1b[?25h\r\x1b[1A\x1b[2Kb\r\n"
    assert lines_on_terminal(live) == ["a", "b", ""]


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
    lines = lines_on_terminal(output.decode())
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
