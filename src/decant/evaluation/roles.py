"""The models that evaluate scores, by role: titles, controls, and which are compared with which."""

from typing import Any

Metrics = dict[str, Any]
"""metrics.json, or a part of it: the metrics of a model by role, and under `compare`, `gap` and `report` the rest."""
Timings = dict[str, dict[str, float]]
"""latency.json: by role the times of a model."""
TITLES = {
    "linear": "linear baseline",
    "scratch": "from scratch (no transfer)",
    "teacher": "teacher",
    "student_alone": "student alone (no teacher)",
    "student": "student",
    "student_onnx": "student, ONNX",
    "student_int8": "student, ONNX int8",
}
CONTROLS = ("linear", "scratch", "student_alone")
"""Roles that show what a method is worth."""
EXPORTED = ("student_onnx", "student_int8")
"""Roles that ONNX Runtime executes."""
COMPARISONS = (
    ("student", "teacher"),
    ("student", "student_alone"),
    ("student", "scratch"),
    ("teacher", "scratch"),
    ("teacher", "linear"),
    ("student", "linear"),
    ("student_onnx", "student"),
    ("student_int8", "student"),
    ("student_int8", "teacher"),
)
"""Pairs of roles: each model against its control or its teacher."""


def comparison(first: str, second: str) -> str:
    """The key of a pair of roles in metrics.json and in MLflow."""
    return f"{first}_vs_{second}"


def titles(metrics: Metrics) -> dict[str, str]:
    """{role: title} of the models in metrics.json, in the order of the report."""
    features = metrics["report"]["linear_features"]
    return {
        role: f"{title} ({features})" if role == "linear" else title
        for role, title in TITLES.items()
        if role in metrics
    }
