import errno

import click
import pytest

from components.transforms.collecting import find_bad_input
from eventlog.errors import BadInput
from pipeline.errors import exit_on_bad_input, exit_with

REFUSED = "the file system refuses: expected a path to read or write"
FREE = "Free space, then repeat the command."
LINE = "span 3: empty: expected rows, got none. Write it again."


def bad_input():
    return BadInput("empty", where="span 3", expected="rows", got="none", fix="Write it again.")


def wrapped_bad_input():
    error = RuntimeError("step failed")
    error.__cause__ = bad_input()
    return error


def test_bad_input_is_found_among_the_causes_of_an_error():
    assert str(find_bad_input(wrapped_bad_input())) == LINE
    error = bad_input()
    assert find_bad_input(error) is error


def test_bad_input_is_found_in_the_message_of_a_beam_worker_error():
    text = f"Traceback:\n  File x\neventlog.errors.BadInput: {LINE} [while running 'Encode']"
    assert str(find_bad_input(RuntimeError(text))) == LINE


def test_the_name_of_the_beam_step_is_removed():
    assert str(find_bad_input(BadInput.from_message(f"{LINE} [while running 'Encode']"))) == LINE


def test_another_error_is_not_bad_input():
    assert find_bad_input(RuntimeError("boom")) is None


@pytest.mark.parametrize(
    ("error", "code", "output"),
    [
        (wrapped_bad_input(), 2, f"tool: {LINE}\n"),
        (
            OSError(errno.ENOSPC, "No space left on device", "/d/part"),
            2,
            f"tool: /d/part: {REFUSED}, got No space left on device. {FREE}\n",
        ),
        (
            RuntimeError("UNKNOWN: /d/variables; File too large"),
            2,
            f"tool: /d/variables: {REFUSED}, got File too large. {FREE}\n",
        ),
        (
            RuntimeError("Error when executing query: disk I/O error query: COMMIT;"),
            2,
            f"tool: metadata of the run: {REFUSED}, got No space left on device. {FREE}\n",
        ),
        (
            PermissionError(errno.EACCES, "Permission denied", "/d"),
            2,
            f"tool: /d: {REFUSED}, got Permission denied. Use another path, or permit its use.\n",
        ),
        (click.UsageError("no such option"), 2, "tool: no such option\n"),
        (click.Abort(), 130, "tool: interrupted; the same command resumes\n"),
        (click.exceptions.Exit(3), 3, ""),
    ],
)
def test_bad_input_and_click_errors_end_without_a_traceback(capsys, error, code, output):
    def program():
        raise error

    with pytest.raises(SystemExit) as caught:
        exit_on_bad_input("tool", program)

    assert (caught.value.code, capsys.readouterr().err) == (code, output)


@pytest.mark.parametrize(("status", "code"), [(1, 1), (2, 2), (0, None), (None, None)])
def test_the_exit_code_of_a_command_is_that_of_the_process(status, code):
    @click.command()
    def command():
        raise click.exceptions.Exit(status or 0)

    def run():
        exit_on_bad_input("tool", lambda: command([], standalone_mode=False))

    if code is None:
        run()
        return
    with pytest.raises(SystemExit) as caught:
        run()
    assert caught.value.code == code


def test_every_error_of_a_list_is_printed(capsys):
    other = BadInput("empty", where="span 4", expected="rows", got="none", fix="Write it again.")

    with pytest.raises(SystemExit) as caught:
        exit_on_bad_input("rankdistill", lambda: exit_with([bad_input(), other]))

    assert caught.value.code == 2
    lines = [f"rankdistill: {LINE}", f"rankdistill: {LINE.replace('3', '4')}"]
    assert capsys.readouterr().err.splitlines() == lines
    exit_with([])


def test_a_missing_file_of_the_program_keeps_its_traceback(tmp_path):
    with pytest.raises(FileNotFoundError):
        exit_on_bad_input("tool", (tmp_path / "missing").read_text)


def test_a_program_error_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        exit_on_bad_input("tool", lambda: 1 / 0)
