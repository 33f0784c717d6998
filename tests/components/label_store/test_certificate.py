from __future__ import annotations

import dataclasses

import pytest

from components.label_store.certificate import certify, read_certificate, write_certificate
from components.label_store.schemes import open_store
from eventlog.errors import BadInput

TIMES = {"event_ms": 1000.0, "ready_ms": 2000.0, "labelled_ms": 3000.0}


def test_a_certificate_describes_the_set_and_reads_back_from_disk(tmp_path, labels):
    store = open_store(f"delta:{tmp_path}/labels")
    tables = [labels.make_table(["a", "b"], [0.1, 0.2]), labels.make_table(["c"], [0.3], surface="search")]
    published = labels.publish(store, labels.make_key(), *tables)
    facts = dataclasses.replace(published.facts, extra=TIMES)
    record = dataclasses.replace(published, facts=facts)
    certificate = certify(record, {"feed": 4, "search": 1, "profile": 2, "empty": 0})
    assert certificate.coverage == {"feed": 0.5, "profile": 0.0, "search": 1.0}
    assert (certificate.rows, certificate.revision) == (3, 1)
    assert (certificate.teacher, certificate.teacher_version, certificate.span) == ("big", "7", 3)
    assert (certificate.label_age_spans, certificate.seconds) == (1, 2.5)
    assert (certificate.event_ms, certificate.ready_ms, certificate.labelled_ms) == (1000, 2000, 3000)
    assert certificate.published_ms == record.created_ms
    without_times = certify(published, {"feed": 4})
    assert (without_times.event_ms, without_times.ready_ms, without_times.labelled_ms) == (0, 0, 0)
    write_certificate(certificate, tmp_path / "artifact")
    assert read_certificate(tmp_path / "artifact") == certificate


def test_a_folder_without_a_certificate_is_refused(tmp_path):
    with pytest.raises(BadInput, match="no certificate: expected the folder of a SoftLabels artifact"):
        read_certificate(tmp_path)


def test_a_damaged_certificate_is_refused(tmp_path):
    (tmp_path / "certificate.json").write_bytes(b"{\xff")
    with pytest.raises(
        BadInput, match=r"certificate\.json: unreadable certificate: expected the certificate"
    ):
        read_certificate(tmp_path)
