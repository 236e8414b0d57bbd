"""What an import has done so far: new names for old ones, and what was added, found, kept and left out."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

EXPERIMENTS, RUNS, LOGGED_MODELS = "experiments", "runs", "logged models"
REGISTERED_MODELS, VERSIONS, FILES = "registered models", "versions", "files"
KINDS = (EXPERIMENTS, RUNS, LOGGED_MODELS, REGISTERED_MODELS, VERSIONS, FILES)
ADDED, PRESENT, DIFFERENT, LEFT_OUT = "added", "present", "different", "left_out"

IMPORTED_FROM = "taxiway.imported_from"
"""The tag with the id that something had in the store that it was imported from."""
IMPORTED_AT = "taxiway.imported_at"
"""The tag that is written last: what lacks it was being imported when the import was broken off."""

ID = re.compile(r"(?<![0-9a-zA-Z])(?:m-)?[0-9a-f]{32}(?![0-9a-f])")
"""An id of a run or a logged model as MLflow makes it, and not the beginning of a longer digest."""


@dataclass
class Ledger:
    """Counts and notes of one import; several threads write it."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    _ids: dict[str, str] = field(default_factory=dict)
    _expected: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, kind: str, what: str, by: int = 1) -> None:
        """Count something that was added, was present, is different or was left out."""
        with self._lock:
            self.counts[kind, what] += by

    def leave_out(self, kind: str, why: str) -> None:
        """Count something that is not imported, and say why."""
        with self._lock:
            self.counts[kind, LEFT_OUT] += 1
            self.notes.append(why)

    def note(self, message: str) -> None:
        """Say something that the user should know, in one sentence without a full stop."""
        with self._lock:
            self.notes.append(message)

    def refuse(self, message: str) -> None:
        """Say what could not be imported although it should have been."""
        with self._lock:
            self.counts[VERSIONS, LEFT_OUT] += 1
            self.refused.append(message)

    def expect(self, ids: Iterable[str]) -> None:
        """Name what will have a new id before the import ends."""
        self._expected.update(ids)

    def rename(self, old: str, new: str) -> None:
        """Remember the id that something has in the stack."""
        with self._lock:
            self._ids[old] = new

    def new_id(self, old: str | None) -> str | None:
        """The id that something has in the stack, or None."""
        return self._ids.get(old) if old else None

    def translate(self, text: str) -> str:
        """A text with the ids that things have in the stack, as far as they have one."""
        return ID.sub(lambda match: self._ids.get(match[0], match[0]), text)

    def translate_tags(self, tags: dict[str, str]) -> dict[str, str]:
        """The tags that can be written now: none that names what has no new id yet, none of an import's own."""
        return {
            key: self.translate(value)
            for key, value in tags.items()
            if key not in (IMPORTED_FROM, IMPORTED_AT) and not self._names_the_unknown(value)
        }

    def _names_the_unknown(self, text: str) -> bool:
        return any(name in self._expected and name not in self._ids for name in ID.findall(text))
