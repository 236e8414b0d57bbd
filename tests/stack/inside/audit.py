"""What MLflow holds of one recipe, seen with this account: open runs, and a digest of each version's files."""

import hashlib
import json
import sys
import tempfile
from pathlib import Path

import mlflow
from mlflow.artifacts import download_artifacts


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


name = sys.argv[1]
client = mlflow.MlflowClient()
experiment = client.get_experiment_by_name(name)
running = [run.info.run_id for run in client.search_runs([experiment.experiment_id], "attributes.status = 'RUNNING'")]
registered = [model.name for model in client.search_registered_models(f"name = '{name}'")]
found = [version.version for version in client.search_model_versions(f"name = '{name}'")]
versions = {f"{name}/{number}": digest(name, number) for number in found}
print(json.dumps({"running": running, "registered": registered, "versions": versions}))
