"""The paper's own results, shown on the page of an experiment.

Reference: Khani et al., "Bridging the Gap", RecSys '24, Tables 1 to 3.
"""

from __future__ import annotations

from components.evaluation.report_page import Table

PAPER_TABLES = {
    "strategy": Table(
        "The paper's Table 1: E(LTV), RMSE",
        ("student", "RMSE"),
        (("no distillation", "12.21"), ("direct", "12.20"), ("auxiliary", "12.15")),
    ),
    "size": Table(
        "The paper's Table 2: CTR, AUC; the control has 77.86",
        ("teacher", "teacher's AUC", "student's AUC", "gain recovered"),
        (("2x", "78.34", "78.02", "33 %"), ("4x", "78.65", "78.06", "25 %")),
    ),
    "objectives": Table(
        "The paper's Table 3: engagement, live",
        ("tasks distilled", "change"),
        (
            ("engagement (PET)", "+0.75 %"),
            ("engagement and satisfaction (PET + PST)", "+1.13 %"),
            ("all", "+0.85 %"),
        ),
    ),
}
"""Name of an experiment -> the paper's table that it reproduces."""
