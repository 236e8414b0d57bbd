"""Feature SQL: parsed, checked and made robust, without an engine.

A recipe's expressions are written in the subset of Spark SQL that other engines share, one row
at a time, so that the same text can be run elsewhere with the same answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise

import sqlglot
from sqlglot import exp
from sqlglot.dialects.spark import Spark
from sqlglot.errors import ParseError, SqlglotError

from taxiway.errors import RecipeError, did_you_mean

# Functions on which Spark and DuckDB silently disagree or which one of them refuses (compared on
# pyspark 4.3 and DuckDB through sqlglot), and what to write instead.
_NOT_SHARED: Mapping[str, str] = {
    "dayofweek": "date_format(column, 'EEEE')",
    "weekday": "date_format(column, 'EEEE')",
    "dayname": "date_format(column, 'EEEE')",
    "monthname": "date_format(column, 'MMMM')",
    "log": "ln(nullif(column, 0))",
    "log2": "ln(nullif(column, 0)) / ln(2)",
    "log10": "ln(nullif(column, 0)) / ln(10)",
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
    "extract": "hour, minute, day, month, quarter, year or date_format(column, 'EEEE')",
    "date_part": "hour, minute, day, month, quarter, year or date_format(column, 'EEEE')",
}
# What no feature may depend on: chance, and the moment it is computed.
_NOT_REPEATABLE = (exp.Rand, exp.Randn, exp.Uuid, exp.CurrentTimestamp, exp.CurrentDate)
_BEYOND_THE_ROW = (
    *(exp.AggFunc, exp.Window, exp.RowNumber, exp.Query, exp.Exists, exp.Star, exp.UDTF, exp.Explode),
    *(exp.QueryTransform, exp.Command, exp.DDL, exp.Drop, exp.Placeholder, exp.Parameter),
)


def parse(text: str, where: str) -> exp.Expr:
    """Parse one expression over the columns of a row.

    Parameters
    ----------
    text : str
        Spark SQL, without ``select``.
    where : str
        What it belongs to, for messages: ``feature 'pickup_hour'``.

    Returns
    -------
    sqlglot.exp.Expr

    Raises
    ------
    RecipeError
        A syntax error, anything that looks beyond one row, or a function that engines read
        differently.
    """
    try:
        trees = sqlglot.parse(text, dialect="spark")
    except SqlglotError as error:
        raise RecipeError(f"The {where} is not valid SQL: {text}", _reason(error)) from error
    if len(trees) != 1 or (tree := trees[0]) is None:
        raise RecipeError(f"The {where} is not one expression: '{text}'", "Write one, without a semicolon")
    _refuse_what_is_no_expression(tree, text, where)
    _refuse_what_engines_read_differently(tree, text, where)
    return tree


def _reason(error: SqlglotError) -> str:
    # The whole message underlines the fault with terminal codes, which do not belong into one line.
    found = error.errors if isinstance(error, ParseError) else []
    return str(found[0]["description"]) if found else str(error).splitlines()[0]


def _refuse_what_is_no_expression(tree: exp.Expr, text: str, where: str) -> None:
    if tree.find(*_BEYOND_THE_ROW) is not None:
        raise RecipeError(f"The {where} looks beyond its own row: {text}", "Write an expression over one row's columns")
    if tree.find(*_NOT_REPEATABLE) is not None:
        raise RecipeError(
            f"The {where} has another value each time it is computed: {text}", "Use columns and constants alone"
        )
    if tree.find(exp.Alias) is not None or any(column.table for column in tree.find_all(exp.Column)):
        raise RecipeError(
            f"The {where} is not a plain expression: {text}", "Use column names alone, without a name after it"
        )


def _refuse_what_engines_read_differently(tree: exp.Expr, text: str, where: str) -> None:
    for name in sorted(_function_names(text) & set(_NOT_SHARED)):
        raise RecipeError(
            f"The {where} uses {name}(), which engines read differently", f"Use {_NOT_SHARED[name]} instead"
        )
    for call in tree.find_all(exp.Anonymous):
        raise RecipeError(f"The {where} uses an unknown function {call.name}()", _known_function(call.name))
    for difference in tree.find_all(exp.TimestampDiff, exp.DateDiff):
        if str(difference.args.get("unit", "DAY")).upper() != "SECOND":
            raise RecipeError(
                f"The {where} counts time in units that engines round differently: {text}",
                "Use timestampdiff(SECOND, …) and divide",
            )
    for cast in tree.find_all(exp.Cast):
        if cast.to.this in exp.DataType.INTEGER_TYPES:
            raise RecipeError(
                f"The {where} casts to a whole number, which engines round differently: {text}",
                "Use floor(…) or round(…)",
            )
    if tree.find(exp.Bracket) is not None:
        raise RecipeError(
            f"The {where} reads an element of an array, which engines count differently: {text}", "Use case when"
        )


def _known_function(name: str) -> str:
    hint = did_you_mean(name, (known.lower() for known in Spark.Parser.FUNCTIONS))
    return hint if hint.startswith("Did you mean") else "Use a function of Spark SQL that other engines have too"


def check_selection(text: str) -> None:
    """Refuse a statement that is not ``SELECT *, expression AS name, … FROM __THIS__`` over known functions.

    Spark has functions and clauses that run whatever they name (``reflect``, ``TRANSFORM … USING``).

    Raises
    ------
    RecipeError
        Says what is in it that recipes do not come to.
    """
    where = "statement"
    try:
        trees = sqlglot.parse(text, dialect="spark")
    except SqlglotError as error:
        raise RecipeError(f"The {where} is not valid SQL", _reason(error)) from error
    tree = trees[0] if len(trees) == 1 else None
    if not isinstance(tree, exp.Select) or {key for key, value in tree.args.items() if value} != {
        *("expressions", "from_"),
    }:
        raise RecipeError(f"The {where} is not one plain selection")
    if tree.args["from_"].sql() != "FROM __THIS__":
        raise RecipeError(f"The {where} reads something else than the trips")
    for one in tree.expressions:
        if isinstance(one, exp.Star):
            continue
        if not isinstance(one, exp.Alias):
            raise RecipeError(f"The {where} is not one plain selection")
        _refuse_what_is_no_expression(one.unalias(), one.sql(), where)
        for call in one.find_all(exp.Anonymous):
            raise RecipeError(f"The {where} uses an unknown function {call.name}()")


def columns_of(tree: exp.Expr) -> tuple[str, ...]:
    """The names an expression reads, in order of appearance, each once."""
    return tuple(dict.fromkeys(column.name for column in tree.find_all(exp.Column, bfs=False)))


def columns_in(compiled: str) -> tuple[str, ...]:
    """The names that an expression reads which `to_spark` wrote."""
    return columns_of(sqlglot.parse_one(compiled, dialect="spark"))


def expand(tree: exp.Expr, definitions: Mapping[str, exp.Expr], where: str) -> exp.Expr:
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


def check_columns(tree: exp.Expr, known: Iterable[str], where: str) -> None:
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


def robust(tree: exp.Expr, types: Mapping[str, str]) -> exp.Expr:
    """Make an expression survive dirt: what cannot be read or computed becomes null.

    Every column is read through a cast that yields null instead of an error, every cast does the
    same, a division by zero is null and so is a sum too large for its type (Spark 4 raises on all
    of them: ANSI mode is on).

    Parameters
    ----------
    tree : sqlglot.exp.Expr
        Expression over raw columns.
    types : mapping of str to str
        The Spark SQL type of each column.
    """

    def mend(node: exp.Expr) -> exp.Expr:
        if isinstance(node, exp.Column):
            return _read_as(node, types[node.name])
        # Spark's parser makes a TryCast of every cast, and its writer a plain one of it again.
        if isinstance(node, exp.Cast):
            return _try_cast(node.this, node.to)
        if isinstance(node, exp.Div | exp.IntDiv | exp.Mod):
            divisor = exp.Nullif(this=exp.paren(node.expression.copy()), expression=exp.Literal.number(0))
            return type(node)(this=node.this.copy(), expression=divisor)
        if isinstance(node, exp.Literal) and not node.is_string and "." in node.name:
            # A decimal to Spark, which keeps six places of a quotient; a double is meant.
            return exp.Cast(this=node.copy(), to=exp.DataType.build("double"))
        if type(node) in _SAFE:
            return _SAFE[type(node)](this=node.this.copy(), expression=node.expression.copy())
        return node

    # Bottom-up, since a replaced column contains itself.
    return _transform_up(tree.copy(), mend)


def to_spark(tree: exp.Expr) -> str:
    """Write an expression as Spark SQL."""
    return tree.sql(dialect="spark")


_SAFE: Mapping[type[exp.Expr], type[exp.Expr]] = {
    exp.Add: exp.SafeAdd,
    exp.Sub: exp.SafeSubtract,
    exp.Mul: exp.SafeMultiply,
}


def _read_as(column: exp.Column, type_name: str) -> exp.Expr:
    target = exp.DataType.build(type_name, dialect="spark")
    if type_name != "int":
        return _try_cast(column, target)
    # '1.0' is no integer to a cast, but it is to a person: ids are read as numbers first.
    return _try_cast(_try_cast(column, exp.DataType.build("double")), target)


def _try_cast(value: exp.Expr, target: exp.DataType) -> exp.TryCast:
    return exp.TryCast(this=value.copy(), to=target.copy(), safe=True)


def _transform_up(node: exp.Expr, mend: Callable[[exp.Expr], exp.Expr]) -> exp.Expr:
    for key, value in list(node.args.items()):
        if isinstance(value, exp.Expr) and not isinstance(node, exp.Column):
            node.set(key, _transform_up(value, mend))
        elif isinstance(value, list):
            node.set(key, [_transform_up(item, mend) if isinstance(item, exp.Expr) else item for item in value])
    return mend(node)


def _function_names(text: str) -> set[str]:
    tokens = sqlglot.tokenize(text, dialect="spark")
    return {token.text.lower() for token, following in pairwise(tokens) if following.text == "("}
