"""Names of the files in the components' output artifacts. Imports nothing, so that commands need no TFX.

`components.label_store.certificate` and `components.transforms.join_report` define the names of two more.
"""

LABEL_STATISTICS_FILE = "label_statistics.pb"
LABEL_ANOMALIES_FILE = "anomalies.json"
LABEL_REFUSAL_FILE = "refusal.json"
CANDIDATE_VERDICT_FILE = "verdict.json"
GATE_VERDICT_FILE = "gate.json"
FIGURES_FILE = "figures.json"
FRESH_FILE = "fresh.parquet"
MATURED_FILE = "matured.parquet"
COMPARED_SPLIT = "train"
"""The split whose statistics are compared with those of other spans, for drift and skew."""
ANOMALIES_FILE = "SchemaDiff.pb"
"""The file lies in the folder of COMPARED_SPLIT. Its name and format are those of TFX's ExampleValidator."""
