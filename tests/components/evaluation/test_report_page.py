from components.evaluation.drawings import line_chart
from components.evaluation.report_page import Table, flat_figures, render


def test_a_page_shows_its_tables_and_drawings():
    drawing = line_chart("calibration", {"student": ([0.0, 0.5], [0.0, 0.25])}, x="prediction", y="share")
    page = render(
        "tab_1, span 7", [Table("Figures", ["task", "auc"], [["click", 0.71239], ["like", None]])], [drawing]
    )

    assert "<title>tab_1, span 7</title>" in page
    assert "<td>0.7124</td>" in page
    assert "<td>-</td>" in page
    assert "<figcaption>calibration</figcaption><svg" in page


def test_all_text_is_escaped():
    assert "<b>" not in render("<b>", [Table("<b>", ["<b>"], [["<b>"]])])


def test_flat_figures_are_named_by_task_metric_and_role():
    figures = {
        "click": {
            "student": {"auc": 0.7, "examples": 10, "positives": None, "interval": {"auc": [0.6, 0.8]}},
            "difference": {"auc": [0.1, 0.0, 0.2]},
        }
    }
    assert flat_figures(figures) == {"click_auc_student": 0.7, "click_examples_student": 10.0}
