"""Names of the files in the output artifacts of the components; imports nothing, for readers without TFX.

Files with a module of their own: `components.label_store.certificate`, `components.transforms.join_report`.
"""

LABEL_STATISTICS_FILE = "label_statistics.pb"
LABEL_ANOMALIES_FILE = "anomalies.json"
LABEL_REFUSAL_FILE = "refusal.json"
CANDIDATE_VERDICT_FILE = "verdict.json"
GATE_VERDICT_FILE = "gate.json"
FIGURES_FILE = "figures.json"
FRESH_FILE = "fresh.parquet"
MATURED_FILE = "matured.parquet"
VALIDATED_SPLIT = "train"
ANOMALIES_FILE = "SchemaDiff.pb"
"""In the split's folder, as TFX's ExampleValidator writes it."""
