"""A data set on its way from a source to a task: role columns, and where each row came from."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import datasets
import numpy as np

from perceivers.data.errors import DataError
from perceivers.data.roles import ROLES, Reading, cell_value

_BATCH = 256


@dataclass(frozen=True)
class Table:
    """Rows with their places.

    Args:
        rows: The role columns.
        name: Where all rows came from, e.g. the file's name.
        place: Index of a row -> where it stands, for messages.
        runs: Lengths of runs of consecutive pieces of text; empty when rows are independent.
    """

    rows: datasets.Dataset
    name: str
    place: Callable[[int], str]
    runs: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    def values(self, role: str) -> list[Any]:
        """Return the column of a role as it is stored."""
        return self.rows[role][:]

    def take(self, indices: Sequence[int] | np.ndarray) -> "Table":
        """Return the rows of `indices`, in that order."""
        kept = [int(i) for i in indices]
        rows = self.rows.select(kept, keep_in_memory=True)
        return Table(rows, self.name, lambda i: self.place(kept[i]))


def table_from_cells(columns: dict[str, list[Any]], folder: Path, name: str, place: Callable[[int], str]) -> Table:
    """Make a table of a file's cells.

    Args:
        columns: Role -> cells.
        folder: Where the file lies.
        name: Name of the table.
        place: Index of a row -> where it stands.

    Raises:
        DataError: There are no rows, or a cell has a wrong type.
    """
    values: dict[str, list[Any]] = {}
    features = datasets.Features()
    for role, cells in columns.items():
        values[role] = [cell_value(role, cell, folder, place(i)) for i, cell in enumerate(cells)]
        features[role] = ROLES[role].feature or datasets.Value("string")
    if not next(iter(values.values())):
        raise DataError(f"{name} is empty; expected at least one row")
    return Table(datasets.Dataset.from_dict(values, features=features), name, place)


def table_from_dataset(rows: datasets.Dataset, reading: Reading, name: str) -> Table:
    """Pick the role columns of a Hugging Face data set.

    Raises:
        DataError: A column is missing or of a wrong type, or there are no rows.
    """
    if not len(rows):
        raise DataError(f"{name} is empty; expected at least one row")
    chosen = reading.choose(rows.column_names, name)
    renames = {column: role for role, column in chosen.items() if column != role}
    rows = rows.select_columns(list(chosen.values()))
    rows = rows.rename_columns(renames) if renames else rows
    for role, column in chosen.items():
        feature = ROLES[role].feature
        if feature is not None and type(rows.features[role]) is not type(feature):
            try:
                rows = rows.cast_column(role, feature)
            except (TypeError, ValueError) as error:
                held = rows.features[role]
                expects = ROLES[role].expects
                raise DataError(f"{name}, row 1: {role} column '{column}' holds {held}; expected {expects}") from error
    return Table(rows, name, lambda i: f"{name}, row {i + 1}")


def join(tables: Sequence[Table]) -> Table:
    """Put tables with the same roles one after the other."""
    if len(tables) == 1:
        return tables[0]
    starts = [0, *accumulate(len(table) for table in tables)]

    def place(i: int) -> str:
        number = int(np.searchsorted(starts, i, side="right")) - 1
        return tables[number].place(i - starts[number])

    runs = tuple(length for table in tables for length in table.runs)
    rows = datasets.concatenate_datasets([table.rows for table in tables])
    return Table(rows, " + ".join(table.name for table in tables), place, runs)


def check_values(table: Table) -> None:
    """Check every value by its role.

    Raises:
        DataError: A value cannot be used; the first one is named.
    """
    # Decoding images releases the interpreter lock, so threads help.
    with ThreadPoolExecutor() as pool:
        for name in table.rows.column_names:
            role, column = ROLES[name], table.rows.select_columns([name])
            column = column if role.stored is None else column.cast_column(name, role.stored)
            problem = _problem_finder(role.check)
            for start in range(0, len(column), _BATCH):
                values = column[start : start + _BATCH][name]
                for i, found in enumerate(pool.map(problem, values), start):
                    if found is not None:
                        raise DataError(f"{table.place(i)}: {name} {found}; expected {role.expects}")


def _problem_finder(check: Callable[[Any], None]) -> Callable[[Any], str | None]:
    def problem(value: Any) -> str | None:
        try:
            check(value)
        except ValueError as error:
            return str(error)
        return None

    return problem
