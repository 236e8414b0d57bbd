"""The file that a backup is, and what a dump says there has to be in the bucket."""

from __future__ import annotations

import io
import json
import os
import stat
import tarfile
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from taxiway.errors import BadData, NotFound, Refused, UsageError
from taxiway.progress import Silent
from taxiway.stack import archive
from taxiway.stack.archive import SUFFIXES, Manifest, check_target, new_archive, open_archive, verify
from taxiway.stack.contents import Contents, Need, gaps, read_contents
from taxiway.stack.ledger import Ledger

MEMBERS = {"db/mlflow.dump": b"PGDMP" * 100, "objects/1/a/é .bin": os.urandom(3 * 2**20 + 1), "objects/empty": b""}
RUN, MODEL = "0" * 31 + "1", "m-" + "a" * 32


def manifest(**fields: object) -> Manifest:
    made = Manifest("2026-01-01T00:00:00+00:00", "0.1.0", "3.17.2", "18.6", {"runs": 3})
    return replace(made, **fields)  # type: ignore[arg-type]  # the test's own


def write(path: Path) -> Path:
    with new_archive(path) as made:
        for name, content in MEMBERS.items():
            made.add(name, len(content), io.BytesIO(content))
        made.finish(manifest(members=made.members))
    return path


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_was_written_is_read(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"backup{suffix}")
    found = verify(path, Silent())
    assert (found.counts, found.format, sorted(found.members)) == ({"runs": 3}, 1, sorted(MEMBERS))
    with open_archive(path, Silent(), "reading") as members:
        read = {name: content.read() for name, content, _ in members}
    assert {name: read[name] for name in MEMBERS} == MEMBERS


def test_it_is_for_its_owner_alone_and_nothing_lies_beside_it(tmp_path: Path) -> None:
    path = write(tmp_path / "backup.tar")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_anybody_can_open_it_with_tar(tmp_path: Path) -> None:
    with tarfile.open(write(tmp_path / "backup.tar.gz")) as tar:
        assert tar.getnames() == [*MEMBERS, "manifest.json"]


@pytest.mark.parametrize("stop", [OSError("no space left on device"), KeyboardInterrupt()])
def test_one_that_was_broken_off_leaves_nothing(tmp_path: Path, stop: BaseException) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise stop

    with pytest.raises(type(stop)), new_archive(tmp_path / "backup.tar") as made:
        made.add("objects/a", 1, Broken())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("cut", [0, 5, 511, 2000, -20_000])
def test_a_file_that_was_cut_off_is_told(tmp_path: Path, suffix: str, cut: int) -> None:
    path = write(tmp_path / f"backup{suffix}")
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(BadData, match="is damaged, or no backup of Taxiway"):
        verify(path, Silent())


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_single_wrong_byte_is_told(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"backup{suffix}")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(BadData, match="is damaged"):
        verify(path, Silent())


@pytest.mark.parametrize(
    ("names", "why"),
    [
        (["objects/empty"], "objects/1/a/é .bin is not what was written"),
        ([*MEMBERS, "objects/more"], "objects/more is not what was written"),
        ([*MEMBERS, "objects/empty"], "it holds objects/empty where it should not"),
    ],
)
def test_members_are_those_that_were_written(tmp_path: Path, names: list[str], why: str) -> None:
    path = tmp_path / "backup.tar"
    wanted = verify(write(tmp_path / "whole.tar"), Silent()).members
    with new_archive(path) as made:
        made.add("db/mlflow.dump", 500, io.BytesIO(MEMBERS["db/mlflow.dump"]))
        for name in names[1:] if names[0].startswith("db") else names:
            content = MEMBERS.get(name, b"")
            made.add(name, len(content), io.BytesIO(content))
        made.finish(manifest(members=wanted))
    with pytest.raises(BadData, match=why):
        verify(path, Silent())


def test_a_later_format_is_not_guessed_at(tmp_path: Path) -> None:
    path = tmp_path / "backup.tar"
    with new_archive(path) as made:
        made.finish(manifest(format=2))
    with pytest.raises(BadData, match="a backup of format 2, and 1 is known here"):
        verify(path, Silent())


@pytest.mark.parametrize("document", ["", "[]", "{}", json.dumps({**asdict(manifest()), "more": 1})])
def test_a_manifest_of_somebody_else_is_told(tmp_path: Path, document: str) -> None:
    path = tmp_path / "backup.tar"
    with tarfile.open(path, "w") as tar:
        header = tarfile.TarInfo(archive.MANIFEST)
        header.size = len(document)
        tar.addfile(header, io.BytesIO(document.encode()))
    with pytest.raises(BadData, match="its manifest cannot be read"):
        verify(path, Silent())


def test_where_it_goes_is_looked_at_first(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'backup\.zip' is not the name of a backup"):
        check_target(tmp_path / "backup.zip")
    with pytest.raises(NotFound, match="There is no folder"):
        check_target(tmp_path / "away" / "backup.tar")
    with pytest.raises(Refused, match="exists"):
        check_target(write(tmp_path / "backup.tar"))
    for name in ("none.tar", "."):
        with pytest.raises(NotFound, match="There is no file"):
            verify(tmp_path / name, Silent())


SQL = f"""\
--
SET client_encoding = 'UTF8';
COPY public.experiments (experiment_id, name) FROM stdin;
0\tDefault
1\ttip
\\.

COPY public.runs (run_uuid, name) FROM stdin;
{RUN}\tone\\ttab \\\\ and \\N
\\.
COPY public.registered_models (name, workspace) FROM stdin;
tip\tdefault
\\.
COPY public.model_versions (name, version, current_stage, source, storage_location) FROM stdin;
tip\t1\tProduction\tmodels:/{MODEL}\tmlflow-artifacts:/1/models/{MODEL}/artifacts
tip\t2\tDeleted_Internal\tREDACTED-SOURCE-PATH\t\\N
tip\t3\tNone\tmlflow-artifacts:/1/{RUN}/artifacts/model\t\\N
tip\t4\tNone\tmodels:/{MODEL}\t\\N
ask\t1\tNone\tprompt-template\t\\N
\\.
COPY public.logged_models (model_id, name, artifact_location, status, lifecycle_stage) FROM stdin;
{MODEL}\tmodel\tmlflow-artifacts:/1/models/{MODEL}/artifacts\t2\tactive
m-pending\tmodel\tmlflow-artifacts:/1/models/m-pending/artifacts\t1\tactive
m-deleted\tmodel\tmlflow-artifacts:/1/models/m-deleted/artifacts\t2\tdeleted
m-external\tmodel\tmlflow-artifacts:/1/models/m-external/artifacts\t2\tactive
\\.
COPY public.logged_model_tags (model_id, tag_key, tag_value) FROM stdin;
m-external\tmlflow.model.isExternal\ttrue
\\.
"""


def test_what_a_dump_needs_is_read_from_it() -> None:
    found = read_contents(io.BytesIO(SQL.encode()))
    assert found.counts == {
        "experiments": 2, "runs": 1, "registered_models": 1, "model_versions": 5, "logged_models": 4,
    }  # fmt: skip
    assert [(need.label, need.prefix) for need in found.needs] == [
        (f"the model model ({MODEL})", f"1/models/{MODEL}/artifacts/"),
        ("tip/1", f"1/models/{MODEL}/artifacts/"),
        ("tip/3", f"1/{RUN}/artifacts/model/"),
        ("tip/4", f"1/models/{MODEL}/artifacts/"),
    ]


MLMODEL = b"""\
flavors:
  python_function: {data: sparkml, env: {conda: conda.yaml}, code: null}
  spark: {model_data: sparkml}
saved_input_example_info: {artifact_path: input_example.json}
model_size_bytes: 40
"""
FILES = {"MLmodel": 150, "conda.yaml": 10, "input_example.json": 10, "sparkml/metadata/part-00000": 30}


def gaps_of(files: dict[str, int], description: bytes = MLMODEL, *, logged: bool = True) -> tuple[str, ...]:
    contents = Contents({}, (Need("tip/1", "mlflow-artifacts:/1/a/artifacts/model", logged),))
    objects = {f"1/a/artifacts/model/{name}": size for name, size in files.items()}
    descriptions = {key: description for key in objects if key.endswith("/MLmodel")}
    return gaps(contents, {**objects, "1/b/artifacts/model/MLmodel": 5}, descriptions)


def test_a_model_with_all_its_files_has_no_gap() -> None:
    assert gaps_of(FILES) == ()
    assert gaps_of({"weights.bin": 1}, logged=False) == ()  # a version may be of any folder


@pytest.mark.parametrize(
    ("gone", "why"),
    [
        (tuple(FILES), "tip/1 has no files in the bucket"),
        (("MLmodel",), "tip/1 has no file MLmodel in the bucket"),
        (("conda.yaml",), "tip/1 lacks conda.yaml, which its MLmodel names"),
        (("sparkml/metadata/part-00000",), "tip/1 lacks sparkml, which its MLmodel names"),
    ],
)
def test_each_gap_is_named(gone: tuple[str, ...], why: str) -> None:
    assert gaps_of({name: size for name, size in FILES.items() if name not in gone}) == (why,)


def test_a_model_that_is_smaller_than_it_was_has_a_gap() -> None:
    assert gaps_of({**dict.fromkeys(FILES, 1)}) == ("tip/1 has 4 bytes of 40 in the bucket",)


@pytest.mark.parametrize("description", [b"{", b"[]", b"flavors: 3"])
def test_a_description_that_cannot_be_read_is_a_gap(description: bytes) -> None:
    assert gaps_of(FILES, description) == ("tip/1 has a file MLmodel that cannot be read",)


def test_files_outside_the_stack_are_a_gap() -> None:
    contents = Contents({}, (Need("tip/1", "s3://elsewhere/model", True),))
    assert gaps(contents, {}, {}) == ("tip/1 keeps its files at s3://elsewhere/model, outside the stack",)


def test_ids_are_translated_once_they_are_known() -> None:
    ledger = Ledger()
    ledger.expect([RUN, MODEL])
    tags = {
        "mlflow.parentRunId": RUN,
        "note": f"see {MODEL} and {'b' * 32}",
        "plain": "x",
        "taxiway.imported_from": "y",
    }
    assert ledger.translate_tags(tags) == {"plain": "x"}
    ledger.rename(RUN, "c" * 32)
    ledger.rename(MODEL, f"m-{'d' * 32}")
    assert ledger.translate_tags(tags) == {
        "mlflow.parentRunId": "c" * 32, "note": f"see m-{'d' * 32} and {'b' * 32}", "plain": "x",
    }  # fmt: skip
    assert ledger.translate(f"{RUN}0 {'e' * 32}{RUN}") == f"{RUN}0 {'e' * 32}{RUN}"
