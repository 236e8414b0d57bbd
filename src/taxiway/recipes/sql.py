"""Feature SQL: parsed, checked and made robust, without an engine.

A recipe's expressions are written in the subset of Spark SQL that other engines share, one row
at a time, so that the same text can be run elsewhere with the same answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.tokens import TokenType

from taxiway.errors import RecipeError, did_you_mean

# Functions on which Spark and DuckDB silently disagree or which one of them refuses (compared on
# pyspark 4.3 and DuckDB through sqlglot), and what to write instead.
_NOT_SHARED: Mapping[str, str] = {
    "dayofweek": "date_format(column, 'EEEE')",
    "weekday": "date_format(column, 'EEEE')",
    "dayname": "date_format(column, 'EEEE')",
    "monthname": "date_format(column, 'MMMM')",
    "log": "ln(nullif(column, 0))",
    "log1p": "ln(1 + column)",
    "substring": "left or right",
    "substr": "left or right",
    "months_between": "timestampdiff(SECOND, …)",
    "add_months": "an explicit date",
    "unix_timestamp": "timestampdiff(SECOND, timestamp '1970-01-01', column)",
    "pmod": "%",
    "mod": "%",
    "bround": "round",
    "rint": "round",
    "width_bucket": "case when",
    "isnull": "column is null",
    "isnotnull": "column is not null",
    "hash": "the column itself, as a category",
    "xxhash64": "the column itself, as a category",
    "crc32": "the column itself, as a category",
    "rand": "nothing: a feature must not depend on chance",
    "randn": "nothing: a feature must not depend on chance",
    "current_timestamp": "a column: a feature must not depend on when it is computed",
    "now": "a column: a feature must not depend on when it is computed",
}


def parse(text: str, where: str) -> exp.Expression:
    """Parse one expression over the columns of a row.

    Parameters
    ----------
    text : str
        Spark SQL, without ``select``.
    where : str
        What it belongs to, for messages: ``feature 'pickup_hour'``.

    Returns
    -------
    sqlglot.exp.Expression

    Raises
    ------
    RecipeError
        A syntax error, anything that looks beyond one row, or a function that engines read
        differently.
    """
    try:
        tree = sqlglot.parse_one(text, dialect="spark")
    except SqlglotError as error:
        # sqlglot underlines the fault with terminal codes, which do not belong into one line
        reason = getattr(error, "errors", None)
        detail = reason[0]["description"] if reason else str(error).splitlines()[0]
        raise RecipeError(f"The {where} is not valid SQL: {text}", f"{detail}") from error
    if tree.find(exp.AggFunc, exp.Window, exp.Query, exp.Star, exp.Command) is not None:
        raise RecipeError(f"The {where} looks beyond its own row: {text}", "Write an expression over one trip's columns")
    for name in _function_names(text):
        if name in _NOT_SHARED:
            raise RecipeError(
                f"The {where} uses {name}(), which engines read differently", f"Use {_NOT_SHARED[name]} instead"
            )
    for difference in tree.find_all(exp.TimestampDiff, exp.DateDiff):
        if str(difference.args.get("unit", "SECOND")).upper() != "SECOND":
            raise RecipeError(
                f"The {where} counts time in units that engines round differently: {text}",
                "Use timestampdiff(SECOND, …) and divide",
            )
    return tree


def columns_of(tree: exp.Expression) -> tuple[str, ...]:
    """The names an expression reads, in order of appearance, each once."""
    return tuple(dict.fromkeys(column.name for column in tree.find_all(exp.Column)))


def expand(tree: exp.Expression, definitions: Mapping[str, exp.Expression], where: str) -> exp.Expression:
    """Replace the names of features by what they stand for, until columns alone remain.

    Raises
    ------
    RecipeError
        Definitions that refer to each other in a circle.
    """
    for _ in range(len(definitions) + 1):
        used = [column for column in tree.find_all(exp.Column) if column.name in definitions]
        if not used:
            return tree
        tree = tree.transform(
            lambda node: (
                exp.paren(definitions[node.name].copy())
                if isinstance(node, exp.Column) and node.name in definitions
                else node
            )
        )
    raise RecipeError(f"The {where} refers to itself", "Define features from columns, or from features above them")


def check_columns(tree: exp.Expression, known: Iterable[str], where: str) -> None:
    """Refuse a name that is no column.

    Raises
    ------
    RecipeError
        Names the unknown column and the closest known one.
    """
    names = tuple(known)
    for name in columns_of(tree):
        if name not in names:
            raise RecipeError(f"The {where} reads an unknown column '{name}'", did_you_mean(name, names))


def robust(tree: exp.Expression, types: Mapping[str, str]) -> exp.Expression:
    """Make an expression survive dirt: what cannot be read as its type becomes null.

    Every column is read through a cast that yields null instead of an error, every cast does the
    same, and a division by zero is null (Spark 4 raises on all of them: ANSI mode is on).

    Parameters
    ----------
    tree : sqlglot.exp.Expression
        Expression over raw columns.
    types : mapping of str to str
        The Spark SQL type of each column.
    """

    def mend(node: exp.Expression) -> exp.Expression:
        if isinstance(node, exp.Column):
            return _read_as(node, types[node.name])
        if type(node) is exp.Cast:
            return _try_cast(node.this, node.args["to"])
        if isinstance(node, exp.Div):
            divisor = exp.Nullif(this=node.expression.copy(), expression=exp.Literal.number(0))
            return exp.Div(this=node.this.copy(), expression=divisor)
        return node

    # Bottom-up, since a replaced column contains itself.
    return _transform_up(tree.copy(), mend)


def to_spark(tree: exp.Expression) -> str:
    """Write an expression as Spark SQL."""
    return tree.sql(dialect="spark")


def _read_as(column: exp.Column, type_name: str) -> exp.Expression:
    target = exp.DataType.build(type_name, dialect="spark")
    if type_name != "int":
        return _try_cast(column, target)
    # '1.0' is no integer to a cast, but it is to a person: ids are read as numbers first.
    return _try_cast(_try_cast(column, exp.DataType.build("double")), target)


def _try_cast(value: exp.Expression, target: exp.DataType) -> exp.TryCast:
    return exp.TryCast(this=value.copy(), to=target.copy(), safe=True)


def _transform_up(node: exp.Expression, mend: Callable[[exp.Expression], exp.Expression]) -> exp.Expression:
    for key, value in list(node.args.items()):
        if isinstance(value, exp.Expression) and not isinstance(node, exp.Column):
            node.set(key, _transform_up(value, mend))
        elif isinstance(value, list):
            node.set(key, [_transform_up(item, mend) if isinstance(item, exp.Expression) else item for item in value])
    return mend(node)


def _function_names(text: str) -> set[str]:
    tokens = sqlglot.tokenize(text, dialect="spark")
    return {
        token.text.lower()
        for token, following in zip(tokens, tokens[1:], strict=False)
        if following.token_type is TokenType.L_PAREN
    }
