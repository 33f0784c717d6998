from eventlog.errors import BadInput
from pipeline.errors import refusal

LINE = "span 3: empty: expected rows, got none. Write it again."


def bad_input():
    return BadInput("empty", where="span 3", expected="rows", got="none", fix="Write it again.")


def test_bad_input_is_found_behind_what_was_raised_from_it():
    error = bad_input()
    wrapped = RuntimeError("step failed")
    wrapped.__cause__ = error
    assert refusal(wrapped) is error
    assert refusal(error) is error


def test_bad_input_that_a_worker_raised_is_found_in_the_text_that_beam_made_of_it():
    text = f"Traceback:\n  File x\neventlog.errors.BadInput: {LINE} [while running 'Encode']"
    assert str(refusal(RuntimeError(text))) == LINE


def test_the_place_where_beam_ran_is_cut_off():
    assert str(refusal(BadInput.quoted(f"{LINE} [while running 'Encode']"))) == LINE


def test_a_broken_program_is_not_bad_input():
    assert refusal(RuntimeError("boom")) is None
