"""The world of `test_bad_input`: a log, a configuration and a root that a fault then spoils."""

import datetime
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from components.label_store.base import LabelSetKey, SetFacts, SoftColumn, row_schema
from components.label_store.schemes import open_store
from components.span_records import BURN_IN, SpanRecord, write_record
from pipeline.config_file import load_deployment, read_document
from pipeline.driver.changed_settings import accept_settings
from pipeline.driver.root_platform import accept_platform
from pipeline.paths import RunPaths
from tests.conftest import REPOSITORY

DEMO = REPOSITORY / "pipeline" / "configs" / "demo.yaml"
SCHEMA = REPOSITORY / "schema" / "impressions.pbtxt"


class World:
    """A folder with a configuration, an event log, and a root with records, a served model and labels."""

    def __init__(self, folder, clean_log):
        self.folder = folder
        self.config = folder / "deployment.yaml"
        self.log = folder / "log"
        self.root = folder / "root"
        self.schema = folder / "schema.pbtxt"
        shutil.copytree(clean_log, self.log)
        self.schema.write_text(SCHEMA.read_text())
        self.document = read_document(DEMO) | {"schema": "schema.pbtxt", "burn_in": "2:3"}
        self.configure()
        (self.root / "serving" / "tab_1" / "1").mkdir(parents=True)
        (self.root / "serving" / "tab_1" / "1" / "saved_model.pb").write_bytes(b"a served model")
        teacher = str(self.root / "serving" / "tab_1" / "1")
        write_record(str(self.root / "records"), BURN_IN, SpanRecord(span=3, slots={"teacher": teacher}))
        paths = RunPaths(self.root, self.log)
        accept_settings(load_deployment(self.config), paths)
        accept_platform(paths)
        store = open_store(self.store)
        column = {"click": SoftColumn(kind="binary", link="sigmoid", unit="probability")}
        writer = store.stage(LabelSetKey(teacher="big", teacher_version="7", span=3), column)
        rows = [["a"], [datetime.date(2022, 5, 1)], ["tab_1"], [0.5]]
        shard = writer.write("s", pa.table(rows, schema=row_schema(["click"])))
        facts = SetFacts(feature_version="f", label_age_spans=1, seconds=1.0)
        self.set_id = store.publish(writer, [shard], facts).set_id

    @property
    def store(self):
        return f"delta:{self.root}/labels"

    def configure(self, **changes):
        """Writes the configuration; `__` in a key separates the levels, and `...` removes the key."""
        document = yaml.safe_load(yaml.safe_dump(self.document))
        for key, value in changes.items():
            *parents, last = key.split("__")
            target = document
            for parent in parents:
                target = target[parent]
            if value is ...:
                del target[last]
            else:
                target[last] = value
        self.config.write_text(yaml.safe_dump(document, sort_keys=False))

    def part(self, span=2):
        (file,) = (self.log / f"span={span}").glob("part-*.parquet")
        return file

    def rewrite(self, change, span=2):
        pq.write_table(change(pq.read_table(self.part(span), partitioning=None)), self.part(span))

    def set_column(self, name, values, span=2):
        self.rewrite(
            lambda table: table.set_column(table.column_names.index(name), name, values(table)), span
        )

    def kept(self):
        """Content of every file of store, serving, records and log, by path; not the lock and the journal."""
        paths = [path for folder in (self.root, self.log) for path in folder.rglob("*") if path.is_file()]
        return {path: path.read_bytes() for path in paths if path.name not in (".lock", "loop.jsonl")}
