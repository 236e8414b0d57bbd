"""A model's files, looked through before anything loads them: what training does not save is not loaded.

MLflow's formats can carry code: modules put on the path, pickles, a loader named in the file ``MLmodel``. Whoever
may write to the artifact store would run it wherever the model is used. Taxiway's own models need none of that.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from taxiway.errors import RecipeError, Refused
from taxiway.recipes.estimators import ESTIMATORS
from taxiway.recipes.sql import check_selection

MLMODEL = "MLmodel"
_SAVED = "sparkml"
_LARGEST = 2**20  # bytes of MLmodel and of a stage's metadata; theirs are a hundredth of it
_BESIDE = frozenset(
    {
        *(MLMODEL, "conda.yaml", "python_env.yaml", "requirements.txt", "input_example.json"),
        *("serving_input_example.json", "registered_model_meta"),
    }
)
# As Spark writes them, Hadoop's checksums included.
_SPARK_FILE = re.compile(
    rf"{_SAVED}/(metadata|stages/\d+_\w+/(metadata|data|treesMetadata))/"
    r"\.?(_SUCCESS|part-[\w-]+(\.[\w-]+)*\.(txt|parquet))(\.crc)?"
)
_METADATA = f"{_SAVED}/**/metadata/part-*"
_SQL_STAGE = "feature.SQLTransformer"
_STAGES = frozenset(
    {
        *("PipelineModel", _SQL_STAGE, "feature.ImputerModel", "feature.StringIndexerModel"),
        *("feature.OneHotEncoderModel", "feature.VectorAssembler"),
        *(classes.model for kind in ESTIMATORS.values() for classes in kind.spark.values()),
    }
)
_SPARK_FLAVOR: Mapping[str, tuple[Any, ...]] = {
    "code": (None,),
    "model_class": (None, "pyspark.ml.pipeline.PipelineModel"),
    "model_data": (_SAVED,),
}
_PYTHON_FLAVOR: Mapping[str, tuple[Any, ...]] = {
    "code": (None,),
    "data": (_SAVED,),
    "loader_module": ("mlflow.spark",),
}
# What these flavors may say besides: it is read by people, or by tools that make environments.
_DESCRIBING = frozenset({"env", "python_version", "pyspark_version"})


def vet_model(folder: Path, name: str) -> None:
    """Refuse a model that is anything else than a Spark pipeline of the stages that training fits.

    Nothing is imported or run, and no link followed.

    Parameters
    ----------
    folder : Path
        MLflow's model folder, with the file ``MLmodel`` in it.
    name : str
        What the model is called in the message.

    Raises
    ------
    Refused
        A file that training does not write (a module, a pickle, a link), a loader, flavor or class that is not
        Spark's, a stage that no recipe has, or SQL that calls what is no function of a recipe.
    """
    for reason in _faults(folder):
        raise Refused(
            f"The files of {name} are not what training saves, and nothing of them was loaded: {reason}",
            "Find out who changed them; then train again, or promote another version",
        )


def _faults(folder: Path) -> Iterator[str]:
    yield from _strange_files(folder)
    yield from _strange_flavors(folder / MLMODEL)
    for file in sorted(folder.glob(_METADATA)):
        yield from _strange_stage(folder, file)


def _strange_files(folder: Path) -> Iterator[str]:
    for path in sorted(folder.rglob("*")):
        place = path.relative_to(folder).as_posix()
        if path.is_symlink():
            yield f"{place} is a link"
        elif path.is_file() and place not in _BESIDE and not _SPARK_FILE.fullmatch(place):
            yield f"there is a file {place}"


def _strange_flavors(file: Path) -> Iterator[str]:
    import yaml

    try:
        found = yaml.safe_load(_text(file))
        flavors = {str(name): dict(said) for name, said in found["flavors"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, yaml.YAMLError):
        yield f"{MLMODEL} cannot be read"
        return
    known = {"spark": _SPARK_FLAVOR, "python_function": _PYTHON_FLAVOR}
    if "spark" not in flavors:
        yield f"{MLMODEL} has no flavor spark"
    for name, said in flavors.items():
        allowed = known.get(name)
        if allowed is None:
            yield f"{MLMODEL} has a flavor {name}"
            continue
        for key, value in said.items():
            if key not in _DESCRIBING and value not in allowed.get(key, (None,)):
                yield f"{MLMODEL} has {name}.{key} = {str(value)[:80]}"


def _strange_stage(folder: Path, file: Path) -> Iterator[str]:
    place = file.relative_to(folder).as_posix()
    try:
        document = json.loads(_text(file))
        kind = str(document["class"])
        statement = str(document.get("paramMap", {}).get("statement", ""))
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        yield f"{place} cannot be read"
        return
    stage = kind.removeprefix("org.apache.spark.ml.")
    if stage == kind or stage not in _STAGES:
        yield f"{place} names a stage {kind[:80]}"
    elif stage == _SQL_STAGE:
        try:
            check_selection(statement)
        except RecipeError as error:
            yield f"{place} has other SQL than a recipe's ({error.message[:200]})"


def _text(file: Path) -> str:
    if file.stat().st_size > _LARGEST:
        raise ValueError(file)
    return file.read_text(encoding="utf-8")
