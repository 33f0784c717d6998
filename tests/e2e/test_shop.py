"""A dirty table of orders, from `init` to students: German names and numbers, large ids, two time zones."""

import datetime
import random
import re
import zoneinfo

import pytest

from components.label_store.schemes import open_store

pytestmark = pytest.mark.slow

ZONES = {"DE": "Europe/Berlin", "US": "America/New_York"}
HEADER = "Bestell-Nr;Kunden-Nr;Artikel;Zeitpunkt;Land;Seite;Preis;Gekauft;Umsatz;Bemerkung"
NUM_DAYS, ROWS_PER_DAY = 10, 300


def dirty_lines():
    """Lines of the table, in order of time; some repeat, and some cannot be read."""
    draw = random.Random(3)
    for day in range(NUM_DAYS):
        for number in range(ROWS_PER_DAY):
            land = draw.choice(list(ZONES))
            seconds = number * 86_400 // ROWS_PER_DAY
            utc = datetime.datetime(2026, 3, 1, tzinfo=datetime.timezone.utc)
            time = (utc + datetime.timedelta(days=day, seconds=seconds)).astimezone(
                zoneinfo.ZoneInfo(ZONES[land])
            )
            customer, item = draw.randrange(150), draw.randrange(40)
            bought = draw.random() < 0.2 + 0.6 * ((customer + item) % 2)
            price = f"{1000 + item * 7:,}.{item:02}".replace(",", "_").replace(".", ",").replace("_", ".")
            line = ";".join(
                [
                    f"{day}-{number}", str(2**60 + customer), f"A{item:03}",
                    f"{time:%d.%m.%Y %H:%M:%S}", land,
                    draw.choice(["Startseite", "Startseite", "Übersicht"]), price if number % 50 else "",
                    "1" if bought else "0", price if bought else "0,00", "",
                ]
            )  # fmt: skip
            yield line
            if number % 100 == 7:
                yield line
    yield "kaputt"


def test_a_dirty_table_of_orders_becomes_label_sets_and_students(command, tmp_path):
    source, first, log, root = (tmp_path / name for name in ("bestellungen.csv", "first", "log", "root"))
    source.write_bytes(b"\xef\xbb\xbf" + "\n".join([HEADER, *dirty_lines()]).encode() + b"\n")
    code, output = command("init", first, "--from", source)
    assert code == 0, output
    mapping = (first / "mapping.yaml").read_text()
    assert '"Kunden-Nr": integer' in mapping and 'decimal: ","' in mapping
    # The one thing that no sample tells: orders of two countries have local times.
    zone = "CASE source.Land WHEN 'DE' THEN 'Europe/Berlin' ELSE 'America/New_York' END"
    mapping, number = re.subn(r'zone: "UTC"', f'zone: "{zone}"', mapping)
    assert number == 1
    (first / "mapping.yaml").write_text(mapping)

    code, output = command(
        "events", "import", "--mapping", first / "mapping.yaml", "--source", source, "--out", log
    )
    assert code == 0, output
    assert f"{NUM_DAYS * (ROWS_PER_DAY + 3) + 1} rows read, {3 * NUM_DAYS + 1} dropped" in output
    for arguments in (
        ("events", "check", "--events", log),
        ("config", "check", first / "deployment.yaml", "--events", log),
        ("run", "--config", first / "deployment.yaml", "--events", log, "--root", root),
    ):
        code, output = command(*arguments)
        assert code == 0, output
    sets = open_store(f"delta:{root / 'labels'}").list_sets()
    assert [record.rows for record in sets] == [ROWS_PER_DAY] * len(sets)
    assert len(sets) >= 5
    assert {folder.name for folder in (root / "serving").iterdir()} == {"seite_startseite", "seite_ubersicht"}
