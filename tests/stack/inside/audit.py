"""What MLflow holds, seen with this container's account: open runs, models, and a digest of each version's files."""

import hashlib
import json
import tempfile
from pathlib import Path

import mlflow
from mlflow.artifacts import download_artifacts
from mlflow.entities import ViewType


def digest(name: str, version: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        download_artifacts(artifact_uri=f"models:/{name}/{version}", dst_path=folder)
        files = sorted(file for file in Path(folder).rglob("*") if file.is_file())
        if len(files) < 4 or not any(file.name == "MLmodel" for file in files):
            return "broken"
        total = hashlib.sha256()
        for file in files:
            total.update(str(file.relative_to(folder)).encode() + file.read_bytes())
        return total.hexdigest()


client = mlflow.MlflowClient()
experiments = [found.experiment_id for found in client.search_experiments(view_type=ViewType.ALL)]
running = [run.info.run_id for run in client.search_runs(experiments, "attributes.status = 'RUNNING'")]
models = {model.name: 0 for model in client.search_registered_models()}
versions = {}
for version in client.search_model_versions():
    models[version.name] = models.get(version.name, 0) + 1
    versions[f"{version.name}/{version.version}"] = digest(version.name, version.version)
print(json.dumps({"running": running, "models": models, "versions": versions}))
