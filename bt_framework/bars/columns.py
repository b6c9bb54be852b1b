"""Which column of a file is what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from bt_framework.bars.config import FIELDS
from bt_framework.errors import DataError

_USUAL = {
    "time": ("time", "datetime", "timestamp", "date", "open_time", "open time", "opentime"),
    "symbol": ("symbol", "ticker"),
    "volume": ("volume", "vol"),
    "dividend": ("dividend", "dividends", "ex-dividend", "div_cash"),
    "split": ("split", "splits", "split ratio", "stock splits", "split_factor"),
}


def found_columns(names: Sequence[str], given: Mapping[str, str], where: str) -> dict[str, str]:
    """Name of the column that is each of `FIELDS`, of those that there are.

    Parameters
    ----------
    names : sequence of str
        Columns of the file.
    given : mapping
        What the user says; an empty name is a field that is not read. The others go by their usual names, in capital
        letters or not.
    where : str
        The file, for messages.

    Raises
    ------
    DataError
        If a column is not there, comes twice or is two fields, or two have the usual name of one field.
    """
    twice = sorted({name for name in names if list(names).count(name) > 1})
    if twice:
        raise DataError(f"{where} has two columns {twice[0]!r}. Rename one of them.")
    found: dict[str, str] = {}
    for field in FIELDS:
        if field in given:
            if given[field] and given[field] not in names:
                raise DataError(
                    f"{where} has no column {given[field]!r}, which bars.columns.{field} names. {_there_are(names)}"
                )
            matches = [given[field]] if given[field] else []
        else:
            usual = _USUAL.get(field, (field,))
            matches = [name for name in names if name.strip().lower() in usual]
        if len(matches) > 1:
            raise DataError(
                f"{where}: the {field} may be {' or '.join(map(repr, matches))}. Say which with"
                f" bars.columns.{field}=NAME."
            )
        if matches and matches[0] in found.values():
            other = next(name for name, column in found.items() if column == matches[0])
            raise DataError(
                f"{where}: the column {matches[0]!r} is taken for the {other} and the {field}. A column is one of them:"
                f" give bars.columns.{other} or bars.columns.{field} another name, or '' for none."
            )
        if matches:
            found[field] = matches[0]
    return found


def need(found: Mapping[str, str], fields: Iterable[str], names: Sequence[str], where: str) -> None:
    """Refuse a file without one of the columns `fields`.

    Raises
    ------
    DataError
        Lists the columns that there are.
    """
    for field in fields:
        if field not in found:
            raise DataError(
                f"{where} has no column that is the {field}. Name it with bars.columns.{field}=NAME."
                f" {_there_are(names)}"
            )


def _there_are(names: Sequence[str]) -> str:
    shown = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
    return f"The columns are {shown}."
