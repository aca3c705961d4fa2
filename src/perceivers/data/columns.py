"""Columns under the names of their roles, and rows checked."""

from collections.abc import Sequence
from pathlib import Path

from datasets import Audio as AudioFeature
from datasets import Dataset, Value
from datasets import Image as ImageFeature

from perceivers.data.config import DataConfig
from perceivers.data.generated import source_of
from perceivers.data.roles import ROLES, ROW_CHECKS, DataError
from perceivers.data.tables import GROUP, ORIGIN


def with_roles(part: Dataset, roles: Sequence[str], config: DataConfig, where: str) -> Dataset:
    """Keep the columns that have a role, under the role's name.

    Raises:
        DataError: A role has no column, or a column that was named does not exist.
    """
    columns = config.columns
    present = columns_of(part)
    unknown = sorted(set(columns) - set(roles))
    if unknown:
        raise DataError(f"columns name roles {unknown} that the task does not have; roles = {list(roles)}")
    chosen: dict[str, str] = {}
    for role in roles:
        if role in columns and columns[role] not in present:
            raise DataError(f"{where} has no column '{columns[role]}'; columns = {present}")
        found = _column_of(part, role, config)
        if found is None:
            raise DataError(
                f"{where} has no column for '{role}'; columns = {present}. Name it: --column {role}=<column>"
            )
        chosen[found] = role
    if source_of(part) is not None:
        if any(column != role for column, role in chosen.items()):
            raise DataError(f"{where} is made with the columns {present}; columns {columns} cannot rename them")
        return part
    extra = [name for name in (ORIGIN, GROUP) if name in part.column_names]
    kept = part.select_columns([*chosen, *extra])
    kept = kept.rename_columns({column: role for column, role in chosen.items() if column != role})
    path = Path(config.source)
    for role in roles:
        if ROLES[role].files and path.exists() and kept.features[role] == Value("string"):
            # Names of files are meant from where the table lies.
            folder = path if path.is_dir() else path.parent
            files = [str(folder / name) if name else None for name in kept[role]]
            kept = kept.remove_columns(role).add_column(role, files)
    if "image" in roles and path.exists() and kept.features["image"] == Value("string"):
        kept = kept.cast_column("image", ImageFeature())
    for name, feature in kept.features.items():
        if isinstance(feature, AudioFeature):
            # Decoding by `datasets` needs a library more; sound is read as all sound here.
            kept = kept.cast_column(name, AudioFeature(decode=False))
    return kept


def offers(part: Dataset, role: str, config: DataConfig) -> bool:
    """Return whether a split has a column for a role."""
    # A column that was named for another role is not found by its name.
    free = set(columns_of(part)) - set(config.columns.values())
    return role in config.columns or bool(free & set(ROLES[role].names))


def _column_of(part: Dataset, role: str, config: DataConfig) -> str | None:
    present = columns_of(part)
    return config.columns.get(role) or next((name for name in ROLES[role].names if name in present), None)


def columns_of(part: Dataset) -> list[str]:
    """Return the names of a split's own columns."""
    source = source_of(part)
    return [name for name in part.column_names if name not in (ORIGIN, GROUP)] if source is None else list(source.roles)


def roles_only(part: Dataset, roles: Sequence[str]) -> Dataset:
    """Leave everything but some roles out."""
    return part.select_columns(list(roles)) if source_of(part) is None else part


def check_rows(part: Dataset, roles: Sequence[str], where: str) -> None:
    """Look at every value of some roles; generated rows need no check.

    Raises:
        DataError: There are no rows, or a value is wrong.
    """
    if source_of(part) is not None:
        return
    if not len(part):
        raise DataError(f"{where} has no examples")
    raw = part.cast_column("image", ImageFeature(decode=False)) if "image" in roles else part
    for role in roles:
        for value, origin in zip(raw[role], raw[ORIGIN], strict=True):
            problem = ROLES[role].check(value)
            if problem:
                raise DataError(f"{origin}: {problem}")
    for pair, check in ROW_CHECKS:
        if not set(pair) <= set(roles):
            continue
        for first, second, origin in zip(raw[pair[0]], raw[pair[1]], raw[ORIGIN], strict=True):
            problem = check(first, second)
            if problem:
                raise DataError(f"{origin}: {problem}")
