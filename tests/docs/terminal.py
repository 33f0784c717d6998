"""Runs commands on a terminal and reads what stays on it."""

import os
import pty
import re
import subprocess

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


def run_on_terminal(command, cwd, environment):
    """The exit code of a command on a pseudo-terminal of 80 columns, and the lines that stay on it."""
    reader, writer = pty.openpty()
    environment = environment | {"COLUMNS": "80", "LINES": "50", "TERM": "xterm"}
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
