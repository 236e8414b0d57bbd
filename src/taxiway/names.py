"""Names of models: which ones MLflow takes, how a value stands in its filters, which folder a name gets."""

from __future__ import annotations

import re
import shlex
import unicodedata
from hashlib import sha256

from taxiway.errors import UsageError

LONGEST = 256
"""Characters that the registry's tables keep of a name; PostgreSQL refuses more."""

_FOLDER = 80
# What no text of a database may hold, and what no encoding can write: half of a surrogate pair.
_UNSAYABLE = re.compile("[\0\ud800-\udfff]")
# A backslash is no escape to MLflow 3.17, and yet its parser takes one before a quote for one.
_AMBIGUOUS = str.maketrans(dict.fromkeys("'\"\\%", "_"))


def impossible(name: str) -> str:
    """Why no registered model can have a name; empty when one can.

    Examples
    --------
    >>> impossible("o'hare"), impossible("tip/3")
    ('', 'the name of a model holds no / and no :')
    """
    if not name.strip():
        return "the name of a model is not empty"
    if set("/:") & set(name):
        return "the name of a model holds no / and no :"
    if name == "." or name.startswith(".."):
        return "the name of a model is not . and does not begin with .."
    if _UNSAYABLE.search(name):
        return "the name of a model is text, without zero bytes or broken characters"
    return ""


def unusable(name: str) -> str:
    """Why a recipe may not have a name, which its experiment, model and addresses bear too; empty when it may.

    Examples
    --------
    >>> unusable("gorjeta no cartão"), unusable("tip?")
    ('', 'the address of a version, models:/name/3, cannot hold ?')
    """
    if fault := impossible(name):
        return fault
    if name != name.strip():
        return "the name of a model has no blank at its ends"
    if any(unicodedata.category(character) in ("Cc", "Zl", "Zp") for character in name):
        return "the name of a model is one line, without control characters"
    if "?" in name:
        return "the address of a version, models:/name/3, cannot hold ?"
    if len(name) > LONGEST:
        return f"the name of a model has {LONGEST} characters at most, this one has {len(name)}"
    return ""


def check_name(name: str) -> None:
    """Tell at once that no model can have a name, instead of looking for it.

    Raises
    ------
    UsageError
    """
    if fault := impossible(name):
        raise UsageError(f"There can be no model '{shown(name)}': {fault}", "taxiway models lists what there is")


def equals(key: str, value: str) -> str:
    """A condition of MLflow's filters that whatever has this value meets; compare again what it finds.

    MLflow 3.17 reads quoted texts without any escape. What no pair of quotes can hold is asked for
    by a pattern, in which ``_`` stands for one character of any kind: that may find more.

    Parameters
    ----------
    key : str
        As MLflow writes it: ``name``, ``attributes.status``, ``tags.`taxiway.kind```.
    value : str

    Examples
    --------
    >>> print(equals("name", "tip"), equals("name", "o'hare"), sep=" AND ")
    name = 'tip' AND name = "o'hare"
    >>> print(equals("name", '''the "o'hare" model'''))
    name LIKE 'the _o_hare_ model'
    """
    if "\\" not in value:
        for quote in ("'", '"'):
            if quote not in value:
                return f"{key} = {quote}{value}{quote}"
    return f"{key} LIKE '{value.translate(_AMBIGUOUS)}'"


def begins_with(key: str, beginning: str) -> str:
    """A condition that whatever begins so meets; compare again what it finds.

    Examples
    --------
    >>> print(begins_with("attributes.run_id", "3f2a"))
    attributes.run_id LIKE '3f2a%'
    """
    return f"{key} LIKE '{beginning.translate(_AMBIGUOUS)}%'"


def folder_name(name: str) -> str:
    """The folder of a recipe's artifacts: the name itself where every system and every address can hold it.

    Examples
    --------
    >>> folder_name("card-tip"), folder_name("a%b")
    ('card-tip', 'a_b-c6332f10')
    """
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", name)[:_FOLDER]
    if plain == name and not name.startswith("."):
        return name
    return f"{plain.strip('._-') or 'model'}-{sha256(name.encode('utf-8', 'backslashreplace')).hexdigest()[:8]}"


def quote(word: str) -> str:
    """A word as a shell takes it, in the quotes that are the easiest to read.

    Examples
    --------
    >>> print(quote("tip/3"), quote("o'hare/3"), quote("a b"))
    tip/3 "o'hare/3" 'a b'
    """
    if "'" in word and not set('"$`\\!\n') & set(word):
        return f'"{word}"'
    return shlex.quote(word)


def shown(name: str) -> str:
    """A name as it can be written out, whatever it holds."""
    return _UNSAYABLE.sub("\N{REPLACEMENT CHARACTER}", name)
