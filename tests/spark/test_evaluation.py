"""Metrics against scikit-learn on the same scores, ties, constants and certainties included."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from sklearn import metrics

from taxiway.evaluation import HOLDOUT, PART, SCORES, TRAIN, Evaluation, evaluate, evaluate_counts
from taxiway.features import LABEL
from taxiway.plots import draw_evaluation, draw_weights
from taxiway.recipes import RECIPES

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

ROWS = 4_000
_DRAW = np.random.default_rng(7)
LABELS = (_DRAW.random(ROWS) < 0.7).astype(float)
_NOISE = _DRAW.random(ROWS)
SMOOTH = np.clip(0.35 * LABELS + 0.6 * _NOISE, 0, 1)
CANDIDATES = {
    "smooth": SMOOTH,
    "tied": np.round(SMOOTH, 1),
    "two values": np.where(SMOOTH > 0.5, 0.9, 0.2),
    "constant": np.full(ROWS, 0.7),
    "certain": np.where(SMOOTH > 0.6, 1.0, 0.0),
    "perfect": LABELS * 0.5 + 0.25,
    "upside down": 1 - SMOOTH,
}
PARTS = np.where(np.arange(ROWS) % 3 == 0, HOLDOUT, TRAIN)


def evaluate_all(
    spark: SparkSession, task: str, labels: np.ndarray, candidates: dict[str, np.ndarray]
) -> dict[tuple[str, str], Evaluation]:
    scores = np.stack(list(candidates.values()), axis=1)
    frame = spark.createDataFrame(
        list(zip(PARTS.tolist(), labels.tolist(), scores.tolist(), strict=True)),
        f"{PART} string, {LABEL} double, {SCORES} array<double>",
    ).repartition(3)
    rows = {part: int((part == PARTS).sum()) for part in (TRAIN, HOLDOUT)}
    found = evaluate(frame, task, len(candidates), rows)
    return {(part, list(candidates)[index]): evaluation for (part, index), evaluation in found.items()}


@pytest.fixture(scope="module")
def classified(_shared_spark: SparkSession) -> dict[tuple[str, str], Evaluation]:
    return evaluate_all(_shared_spark, "classification", LABELS, CANDIDATES)


def calibration_error(labels: np.ndarray, scores: np.ndarray) -> float:
    bins = np.minimum((scores * 10).astype(int), 9)
    inside = [bins == index for index in range(10) if (bins == index).any()]
    return float(sum(abs(scores[at].mean() - labels[at].mean()) * at.mean() for at in inside))


@pytest.mark.parametrize("part", [TRAIN, HOLDOUT])
@pytest.mark.parametrize("name", CANDIDATES)
def test_classification_agrees_with_scikit_learn(
    classified: dict[tuple[str, str], Evaluation], part: str, name: str
) -> None:
    labels, scores = LABELS[part == PARTS], CANDIDATES[name][part == PARTS]
    found = classified[part, name]
    expected = {
        "roc_auc": metrics.roc_auc_score(labels, scores),
        "pr_auc": metrics.average_precision_score(labels, scores),
        "log_loss": metrics.log_loss(labels, scores),
        "brier": metrics.brier_score_loss(labels, scores),
        "calibration_error": calibration_error(labels, scores),
    }
    assert found.metrics == pytest.approx(expected, abs=1e-6, rel=1e-9)
    assert found.rows == len(labels)


@pytest.mark.parametrize("name", ["tied", "two values", "constant", "certain", "perfect"])
def test_counts_of_few_scores_say_the_same(name: str) -> None:
    scores = CANDIDATES[name]
    counts = [
        (float(score), LABELS[scores == score].sum(), (1 - LABELS[scores == score]).sum()) for score in set(scores)
    ]
    assert evaluate_counts(counts).metrics == pytest.approx(
        {
            "roc_auc": metrics.roc_auc_score(LABELS, scores),
            "pr_auc": metrics.average_precision_score(LABELS, scores),
            "log_loss": metrics.log_loss(LABELS, scores),
            "brier": metrics.brier_score_loss(LABELS, scores),
            "calibration_error": calibration_error(LABELS, scores),
        },
        abs=1e-6,
        rel=1e-9,
    )


def test_the_curves_lie_on_scikit_learns(classified: dict[tuple[str, str], Evaluation]) -> None:
    chosen = PARTS == HOLDOUT
    found = classified[HOLDOUT, "smooth"]
    false, true, _ = metrics.roc_curve(LABELS[chosen], SMOOTH[chosen], drop_intermediate=False)
    curve = set(zip(false.round(9), true.round(9), strict=True))
    assert {(round(x, 9), round(y, 9)) for x, y in found.roc} <= curve
    assert found.roc[0] == (0, 0)
    assert found.roc[-1] == (1, 1)
    assert 100 < len(found.roc) < 400
    assert found.precision_recall[-1] == pytest.approx((1, LABELS[chosen].mean()))


def test_the_histogram_counts_every_row_once(classified: dict[tuple[str, str], Evaluation]) -> None:
    found = classified[HOLDOUT, "certain"]
    chosen = PARTS == HOLDOUT
    assert sum(negatives + positives for _, _, negatives, positives in found.histogram) == chosen.sum()
    certain = CANDIDATES["certain"][chosen] == 1
    assert found.histogram[-1][2:] == ((1 - LABELS[chosen][certain]).sum(), LABELS[chosen][certain].sum())
    assert sum(count for _, _, count in found.calibration) == chosen.sum()


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_one_class_has_no_area_but_a_loss(spark: SparkSession, label: float) -> None:
    found = evaluate_all(spark, "classification", np.full(ROWS, label), {"smooth": SMOOTH})[HOLDOUT, "smooth"]
    assert np.isnan(found.metrics["roc_auc"])
    assert np.isnan(found.metrics["pr_auc"])
    labels, scores = np.full(ROWS, label)[PARTS == HOLDOUT], SMOOTH[PARTS == HOLDOUT]
    assert found.metrics["log_loss"] == pytest.approx(metrics.log_loss(labels, scores, labels=[0, 1]), abs=1e-6)
    assert found.metrics["brier"] == pytest.approx(((labels - scores) ** 2).mean(), abs=1e-6)


def test_the_pictures_show_what_was_measured(classified: dict[tuple[str, str], Evaluation], tmp_path: Path) -> None:
    parts = {part: classified[part, "smooth"] for part in (TRAIN, HOLDOUT)}
    figure = draw_evaluation(RECIPES["tip"], parts)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["ROC", "Precision and recall", "Calibration", "Scores on the holdout months"]
    legend = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert f"holdout: {parts[HOLDOUT].metrics['roc_auc']:.4f}" in legend
    figure.savefig(tmp_path / "evaluation.png")
    assert (tmp_path / "evaluation.png").stat().st_size > 10_000


def test_a_regression_and_weights_are_drawn_too(tmp_path: Path) -> None:
    points = ((1.0, 2.0, 5), (3.0, 2.5, 7))
    one = Evaluation(metrics={"rmse": 1.0, "mae": 1.0, "r2": 0.5}, rows=12, calibration=points)
    figure = draw_evaluation(RECIPES["duration"], {TRAIN: one, HOLDOUT: one})
    assert [axes.get_xlabel() for axes in figure.axes] == ["predicted (minutes)"]
    figure.savefig(tmp_path / "evaluation.png")
    weights = draw_weights("Coefficients", [(f"slot {index}", index - 20.0) for index in range(50)])
    assert len(weights.axes[0].patches) == 30
    weights.savefig(tmp_path / "weights.png")


MINUTES = 12 + 6 * LABELS + 3 * _NOISE
REGRESSIONS = {"close": MINUTES + SMOOTH - 0.5, "constant": np.full(ROWS, 15.0), "far": -3 * MINUTES}


@pytest.mark.parametrize("part", [TRAIN, HOLDOUT])
def test_regression_agrees_with_scikit_learn(spark: SparkSession, part: str) -> None:
    found = evaluate_all(spark, "regression", MINUTES, REGRESSIONS)
    labels = MINUTES[part == PARTS]
    for name, predictions in REGRESSIONS.items():
        predicted = predictions[part == PARTS]
        expected = {
            "rmse": metrics.root_mean_squared_error(labels, predicted),
            "mae": metrics.mean_absolute_error(labels, predicted),
            "r2": metrics.r2_score(labels, predicted),
        }
        assert found[part, name].metrics == pytest.approx(expected, abs=1e-6, rel=1e-9)
        points = found[part, name].calibration
        assert sum(count for _, _, count in points) == len(labels)
        assert len(points) <= 40
        assert sum(seen * count for _, seen, count in points) / len(labels) == pytest.approx(labels.mean())


def test_a_label_that_never_varies_has_no_r2(spark: SparkSession) -> None:
    found = evaluate_all(spark, "regression", np.full(ROWS, 3.0), {"close": SMOOTH})[HOLDOUT, "close"]
    assert np.isnan(found.metrics["r2"])
    assert found.metrics["rmse"] > 0
