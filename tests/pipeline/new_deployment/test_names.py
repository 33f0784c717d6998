import pytest

from pipeline.new_deployment.names import plain_name, unique_name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Kunden-Nr.", "kunden_nr"),
        ("Größe (m²)", "grosse_m2"),
        ("surface", "column_surface"),
        ("label_click", "column_label_click"),
        ("2nd", "column_2nd"),
        ("No", "column_no"),
        ("???", "column"),
        ("a" * 50, "a" * 40),
    ],
)
def test_names_are_plain_and_not_reserved(text, name):
    assert plain_name(text) == name


def test_a_name_that_occurs_again_gets_a_number():
    names = {"like"}
    assert [unique_name("like", names) for _ in range(2)] == ["like_2", "like_3"]
