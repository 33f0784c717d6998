from eventlog.tables.dirt import Dirt, DirtReport


def test_the_report_has_counts_shares_samples_and_notes() -> None:
    report = DirtReport(8, [Dirt("null", 2, ("a", "b\n\x1b[2J", "c", "d"))], ["a note"])
    assert list(report.lines()) == [
        "8 rows read, 2 dropped (25.00 %)",
        "  2 rows: null",
        "    a",
        r"    b\n\x1b[2J",
        "    c",
        "a note",
    ]


def test_a_report_without_rows_has_the_share_0() -> None:
    assert next(DirtReport(0, []).lines()) == "0 rows read, 0 dropped (0.00 %)"
