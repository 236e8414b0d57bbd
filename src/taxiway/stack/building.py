"""How far the images are: read from what Compose writes while it builds and pulls."""

from __future__ import annotations

import re
from pathlib import Path

# BuildKit: "#14 [mlflow_server 3/9] RUN …", with the stage's name where a Dockerfile has several.
_STEP = re.compile(r"^#\d+ \[([\w-]+)(?: [\w.-]+)? +(\d+)/(\d+)\]")
_EXPORT = re.compile(r"^#\d+ \[([\w-]+)\] exporting")
_BUILT = re.compile(r"^\s*(?:✔\s*)?(?:Image )?(?:taxiway/)?([\w-]+)(?::\S+)?\s+Built\b")
_PULL = re.compile(r"^\s*(?:✔\s*)?(?:Image )?([\w./:-]+)\s+(Pulling|Pulled)\b")
# The builder of Compose 1.29.
_OLD_BEGIN = re.compile(r"^Building ([\w-]+)\s*$")
_OLD_STEP = re.compile(r"^Step (\d+)/(\d+) :")
_OLD_END = re.compile(r"^Successfully tagged ")  # "Successfully built" is what pip writes too
_OLD_PULL = re.compile(r"^Pulling ([\w-]+) \(")


class BuildLog:
    """The log file of a build, read as it grows.

    Parameters
    ----------
    file : Path
    place : int
        Where in it the build begins, in bytes.
    """

    def __init__(self, file: Path, place: int = 0) -> None:
        self._file = file
        self._place = place
        self._rest = ""
        self._current = ""
        self.building: dict[str, str] = {}
        """Services whose images are being made or pulled, and how far that is."""

    def read(self) -> dict[str, str]:
        """Read what has been added, and say what is being built now."""
        with self._file.open("rb") as stream:
            stream.seek(self._place)
            added = stream.read()
        self._place += len(added)
        *lines, self._rest = (self._rest + added.decode(errors="replace")).split("\n")
        for line in lines:
            self.take(line)
        return self.building

    def take(self, line: str) -> None:
        """Learn from one line."""
        if match := _STEP.match(line):
            self.building[match[1]] = f"step {match[2]} of {match[3]}"
        elif match := _EXPORT.match(line):
            self.building[match[1]] = "writing the image"
        elif match := _BUILT.match(line):
            self.building.pop(match[1], None)
        elif match := _PULL.match(line):
            self._pull(match[1], match[2])
        else:
            self._take_old(line)

    def _take_old(self, line: str) -> None:
        if match := _OLD_BEGIN.match(line):
            self._current = match[1]
            self.building[self._current] = ""
        elif match := _OLD_PULL.match(line):
            self._current = match[1]
            self.building[self._current] = "pulling the image"
        elif self._current and (match := _OLD_STEP.match(line)):
            self.building[self._current] = f"step {match[1]} of {match[2]}"
        elif self._current and _OLD_END.match(line):
            self.building.pop(self._current, None)

    def _pull(self, name: str, what: str) -> None:
        if what == "Pulling":
            self.building[name] = "pulling the image"
        else:
            self.building.pop(name, None)
