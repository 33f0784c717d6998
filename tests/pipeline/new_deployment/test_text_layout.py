import gzip

import pytest

from eventlog.errors import BadInput
from pipeline.new_deployment.text_layout import guess_layout


def layout(tmp_path, text, name="table.csv", encoding="utf-8"):
    file = tmp_path / name
    file.write_bytes(text.encode(encoding))
    return guess_layout(file)


@pytest.mark.parametrize("delimiter", ["\t", ",", ";", "|", "::"])
def test_the_delimiter_divides_all_lines_into_equally_many_values(tmp_path, delimiter):
    lines = [("user", "title", "price"), ("1", "a b", "2"), ("2", "c", "3")]
    found = layout(tmp_path, "\n".join(map(delimiter.join, lines)))
    assert (found.delimiter, found.names, found.has_header) == (delimiter, lines[0], True)


def test_without_a_header_columns_have_numbers(tmp_path):
    found = layout(tmp_path, "196\t242\t3\t881250949\n186\t302\t3\t891717742\n", "u.data")
    assert found.names == ("column_1", "column_2", "column_3", "column_4")
    assert not found.has_header


def test_a_header_of_texts_above_texts_is_a_header(tmp_path):
    assert layout(tmp_path, "name,city\nAda,Rome\nBob,Rome\n").has_header


def test_german_exports_have_decimal_commas_and_may_be_latin_1(tmp_path):
    found = layout(tmp_path, "Größe;Preis\nM;1.234,50\nL;7,00\nL;NA\n", encoding="latin-1")
    assert (found.encoding, found.decimal, found.names) == ("latin-1", ",", ("Größe", "Preis"))
    assert found.null_texts == ("NA",)


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path):
    assert layout(tmp_path, "\ufeffuser,price\n1,2.5\n").names == ("user", "price")


def test_atomic_files_have_types_in_their_header(tmp_path):
    assert layout(tmp_path, "user_id:token\trating:float\n1\t2\n", "x.inter").is_atomic
    assert not layout(tmp_path, "a:token,b\n1,2\n").is_atomic


def test_a_compressed_file_is_read_and_a_damaged_one_refused(tmp_path):
    file = tmp_path / "table.csv.gz"
    file.write_bytes(gzip.compress(b"user,price\n1,2.5\n"))
    assert guess_layout(file).names == ("user", "price")
    file.write_bytes(b"user,price\n")
    with pytest.raises(BadInput, match="unreadable file"):
        guess_layout(file)
    with pytest.raises(BadInput, match="an empty file"):
        layout(tmp_path, "")
