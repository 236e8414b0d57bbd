"""The table of metrics: what a row adds and what the sums make of it, with plain numbers."""

from __future__ import annotations

from math import isnan, log, log1p
from types import SimpleNamespace

import pytest
from sklearn import metrics as sklearn

from taxiway.recipes.metrics import METRICS, SUMS, Row, Task, Totals, compute_metrics, skill

NUMBERS = SimpleNamespace(abs=abs, log=log, log1p=log1p)


def regression(scores: list[float], labels: list[float]) -> dict[str, float]:
    rows = [Row(score, label, NUMBERS) for score, label in zip(scores, labels, strict=True)]
    sums = {name: sum(adds(row) for row in rows) for name, adds in SUMS["regression"].items()}
    mean = sum(labels) / len(labels)
    variance = sum((label - mean) ** 2 for label in labels) / len(labels)
    return compute_metrics("regression", Totals(len(rows), sums, variance=variance))


def test_regression_metrics_are_those_of_scikit_learn() -> None:
    scores, labels = [1.0, 2.5, 2.0, 8.0], [1.5, 2.0, 4.0, 7.0]
    found = regression(scores, labels)
    assert found["rmse"] == pytest.approx(sklearn.root_mean_squared_error(labels, scores))
    assert found["mae"] == pytest.approx(sklearn.mean_absolute_error(labels, scores))
    assert found["r2"] == pytest.approx(sklearn.r2_score(labels, scores))


def test_r2_of_a_label_that_never_varies_is_not_defined() -> None:
    assert isnan(regression([1.0, 2.0], [3.0, 3.0])["r2"])


def test_areas_without_labels_of_both_classes_are_not_defined() -> None:
    sums = dict.fromkeys(SUMS["classification"], 0.0)
    found = compute_metrics("classification", Totals(5, sums, positives=5))
    assert isnan(found["roc_auc"])
    assert isnan(found["pr_auc"])


@pytest.mark.parametrize(("task", "decides"), [("classification", "roc_auc"), ("regression", "rmse")])
def test_the_first_metric_of_a_task_decides(task: Task, decides: str) -> None:
    assert next(iter(METRICS[task])) == decides


def test_skill_is_0_for_guessing_and_1_for_knowing() -> None:
    assert skill({"roc_auc": 0.5}) == 0
    assert skill({"roc_auc": 1.0}) == 1
    assert skill({"rmse": 3.0, "r2": 0.25}) == 0.25
