"""Names of the files in the components' output artifacts; imports nothing, so that commands need no TFX.

Two more files are defined in `components.label_store.certificate` and `components.transforms.join_report`.
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
ANOMALIES_FILE = "SchemaDiff.pb"
"""Lies in the split's folder, as TFX's ExampleValidator writes it."""
