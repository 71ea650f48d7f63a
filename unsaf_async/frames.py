"""Tables as DataFrames: of pandas or of polars, whichever is installed. Neither is a dependency."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from unsaf_async.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LIBRARIES = ("pandas", "polars")
"""In the order in which they are tried, where the program has imported neither."""


def frame(columns: Mapping[str, tuple[type, Sequence[Any]]]) -> Any:
    """A DataFrame with the type of each column as given, whatever is absent in it.

    It is one of the library that the program has imported already, pandas before polars; else of the first that is installed.

    Args:
        columns: By name, (str, int, float or bool; the values, of one length). None is the absent value: NA in pandas, NaN
            among numbers with a fraction; null in polars.

    Returns:
        A `pandas.DataFrame` or a `polars.DataFrame`.

    Raises:
        UserError: Neither is installed.
    """
    for name in sorted(LIBRARIES, key=lambda each: sys.modules.get(each) is None):
        try:
            library = import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name:  # it is there, and lacks something itself
                raise
            continue
        return (_pandas if name == "pandas" else _polars)(library, columns)
    raise UserError(
        "a DataFrame needs pandas or polars, and neither is installed; `pip install pandas`, or `pip install polars`"
    )


def _pandas(pandas: Any, columns: Mapping[str, tuple[type, Sequence[Any]]]) -> Any:
    types = {str: "string", int: "Int64", float: "float64", bool: "boolean"}
    return pandas.DataFrame(
        {name: pandas.Series(list(values), dtype=types[kind]) for name, (kind, values) in columns.items()}
    )


def _polars(polars: Any, columns: Mapping[str, tuple[type, Sequence[Any]]]) -> Any:
    types = {str: polars.String, int: polars.Int64, float: polars.Float64, bool: polars.Boolean}
    return polars.DataFrame(
        {name: values for name, (_, values) in columns.items()},
        schema={name: types[kind] for name, (kind, _) in columns.items()},
    )
