"""The notebook way: from trips in a CSV file to a scored production model, as public notebooks do it.

The trips go through pandas into Spark, nothing is cached, so that every one of the ten fits reads
and shapes the rows again, and every model is logged without ``pip_requirements``, which makes
MLflow start a second Spark session to infer them. The two notebooks are one process here, which
spares a start of Spark; and the usual mistakes that cost no time (a 12-hour clock, a split that
mixes past and future, the ROC AUC of hard predictions) are not repeated, so that the result can be
compared with Taxiway's.

`against_notebook.py` starts it; it knows nothing of Taxiway.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import mlflow
import pandas as pd
from mlflow import MlflowClient
from pyspark.ml import Pipeline
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.evaluation import BinaryClassificationEvaluator, MulticlassClassificationEvaluator
from pyspark.ml.feature import OneHotEncoder, StringIndexer, VectorAssembler
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

PICKUP, DROPOFF = "tpep_pickup_datetime", "tpep_dropoff_datetime"
REGULARISATION = (0.0, 0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
NUMBERS = ["passenger_count", "trip_seconds", "trip_distance", "fare_amount"]
CATEGORIES = ["pickup_hour", "weekday", "traffic_time_bin", "payment"]
MODEL = "notebook-way"


def read_trips(spark: SparkSession, file: Path) -> DataFrame:
    return spark.createDataFrame(pd.read_csv(file, parse_dates=[PICKUP, DROPOFF]))


def add_features(trips: DataFrame) -> DataFrame:
    hour = F.hour(PICKUP)
    time_bin = (
        F.when((hour <= 6) | (hour >= 20), "Night")
        .when(hour <= 10, "AMRush")
        .when(hour <= 15, "Afternoon")
        .otherwise("PMRush")
    )
    return (
        trips.withColumn("pickup_hour", hour.cast("string"))
        .withColumn("weekday", F.date_format(PICKUP, "EEEE"))
        .withColumn("traffic_time_bin", time_bin)
        .withColumn("payment", F.col("payment_type").cast("string"))
        .withColumn("trip_seconds", F.unix_timestamp(DROPOFF) - F.unix_timestamp(PICKUP))
        .withColumn("label", (F.col("tip_amount") > 0).cast("double"))
    )


def keep_usual(trips: DataFrame) -> DataFrame:
    return trips.where(
        "passenger_count between 1 and 7 and tip_amount between 0 and 25 and tip_amount < fare_amount"
        " and fare_amount between 1 and 250 and trip_distance > 0 and trip_distance <= 100 and RatecodeID <= 5"
        " and payment_type in (1, 2) and trip_seconds between 30 and 7200"
    )


def build_pipeline(regularisation: float) -> Pipeline:
    indexed = [f"{name}_index" for name in CATEGORIES]
    encoded = [f"{name}_vector" for name in CATEGORIES]
    return Pipeline(
        stages=[
            StringIndexer(inputCols=CATEGORIES, outputCols=indexed, handleInvalid="keep"),
            OneHotEncoder(inputCols=indexed, outputCols=encoded),
            VectorAssembler(inputCols=[*NUMBERS, *encoded], outputCol="features", handleInvalid="keep"),
            LogisticRegression(labelCol="label", maxIter=50, regParam=regularisation),
        ]
    )


def sweep(train: DataFrame, test: DataFrame) -> None:
    roc = BinaryClassificationEvaluator(labelCol="label", metricName="areaUnderROC")
    right = MulticlassClassificationEvaluator(labelCol="label", metricName="accuracy")
    for regularisation in REGULARISATION:
        with mlflow.start_run():
            mlflow.log_params({"regParam": regularisation, "maxIter": 50, "elasticNetParam": 0.0})
            model = build_pipeline(regularisation).fit(train)
            predictions = model.transform(test)
            mlflow.log_metrics({"auc": roc.evaluate(predictions), "accuracy": right.evaluate(predictions)})
            mlflow.spark.log_model(model, artifact_path="model")


def promote_best(experiment: str) -> float:
    best = mlflow.search_runs(experiment_names=[experiment], order_by=["metrics.auc DESC"], max_results=1).iloc[0]
    version = mlflow.register_model(f"runs:/{best.run_id}/model", MODEL).version
    client = MlflowClient()
    client.transition_model_version_stage(MODEL, version, "Staging")
    client.transition_model_version_stage(MODEL, version, "Production", archive_existing_versions=True)
    return float(best["metrics.auc"])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--trips", type=Path, required=True)
    parser.add_argument("--set-aside", type=Path, required=True)
    parser.add_argument("--holdout-from", required=True, help="2019-04-01: trips from that day on test the model")
    parser.add_argument("--experiment", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--result", type=Path, required=True)
    options = parser.parse_args()

    # The way from pandas into Spark is much faster through Arrow than without it. With the default
    # gigabyte of heap, 150,000 trips made the driver run out of memory (Spark 4.3): it gets as much as Taxiway's.
    spark = (
        SparkSession.builder.config("spark.sql.execution.arrow.pyspark.enabled", "true")
        .config("spark.driver.memory", "3200m")
        .getOrCreate()
    )
    mlflow.set_experiment(options.experiment)
    trips = keep_usual(add_features(read_trips(spark, options.trips)))
    sweep(trips.where(F.col(PICKUP) < options.holdout_from), trips.where(F.col(PICKUP) >= options.holdout_from))
    auc = promote_best(options.experiment)

    model = mlflow.spark.load_model(f"models:/{MODEL}/Production")
    scored = model.transform(add_features(read_trips(spark, options.set_aside)))
    scored.drop("features", "rawPrediction").write.parquet(str(options.out))
    rows = spark.read.parquet(str(options.out)).count()
    options.result.write_text(json.dumps({"auc": auc, "scored": rows}))


if __name__ == "__main__":
    main()
