"""The tables of a result, and its metrics in MLflow."""

from typing import Any

import pytest

from decant.evaluation import report, roles

METRICS: dict[str, Any] = {
    role: {"accuracy": 0.5, "interval": {"low": 0.4, "high": 0.6}, "parameters": 1000, "size_mb": size}
    for role, size in (("linear", 1.0), ("teacher", 4.0), ("student", 2.0), ("student_int8", 0.5))
} | {
    "compare": {
        "student_vs_teacher": {"difference": -0.1, "low": -0.2, "high": 0.0, "agreement": 0.9,
                               "retained": 0.8, "retained_low": None, "retained_high": None},
        "student_int8_vs_student": {"difference": 0.0, "low": -0.1, "high": 0.1, "agreement": 1.0},
    },
    "gap": {"student": {"closed": 0.5, "low": None, "high": 0.9, "gap": "exists"}},
    "report": {"primary_metric": "accuracy", "columns": [["accuracy", "accuracy %"]], "linear_features": "TF-IDF"},
}  # fmt: skip
TIMINGS = {
    role: {"latency_ms_p50": ms, "latency_ms_p95": 2 * ms, "throughput": 1000.0}
    for role, ms in (("linear", 1.0), ("teacher", 8.0), ("student", 4.0), ("student_int8", 2.0))
}


def test_the_table_has_a_row_for_each_model_that_was_scored() -> None:
    table = report.rows(METRICS, TIMINGS)
    assert table[0] == ["linear baseline (TF-IDF)", "50.0 [40.0, 60.0]", "1,000", "1.0", "1.0", "2.0", "1,000"]
    assert [row[0] for row in table] == list(roles.titles(METRICS).values())
    assert len(report.columns(METRICS)) == len(table[0])


def test_a_markdown_table_keeps_its_cells_as_they_are() -> None:
    table = report.markdown_table(["model", "x"], [["a", "1.50"], ["b", "1,000"]])
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    assert lines[0] == ["model", "x"]
    assert set("".join(lines[1])) == {"-"}
    assert lines[2:] == [["a", "1.50"], ["b", "1,000"]]


def test_metrics_in_mlflow_are_numbers_named_by_role() -> None:
    flat = report.mlflow_metrics(METRICS, TIMINGS)
    assert all(isinstance(value, int | float) for value in flat.values())
    assert flat["student/accuracy"] == 0.5
    assert flat["student/retained"] == 0.8
    assert flat["student/gap_closed"] == 0.5
    assert flat["student_int8/speedup"] == pytest.approx(4.0)
    assert flat["student_int8/shrinkage"] == pytest.approx(8.0)
    assert flat["compare/student_vs_teacher/difference"] == -0.1
    assert not {"student/retained_low", "student/gap_low"} & flat.keys()
