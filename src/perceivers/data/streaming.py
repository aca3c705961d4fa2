"""Tables, folders of tables and data sets of the Hub as streams."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset, IterableDataset, concatenate_datasets

from perceivers.data.config import DataConfig
from perceivers.data.generated import GENERATED
from perceivers.data.opening import choose_splits, from_hub, known_splits, read_tables, table_files
from perceivers.data.roles import DataError
from perceivers.data.sources import SOURCES
from perceivers.data.stream import Stream
from perceivers.data.streams import STREAM_SUFFIXES, stream_rows
from perceivers.data.tables import ORIGIN


def open_stream(config: DataConfig, *, with_eval: bool) -> tuple[Stream, dict[str, Dataset]]:
    """Return the training split as a stream, and the evaluation split (`eval`), which is held.

    Args:
        config: Which data.
        with_eval: Whether an evaluation split is wanted from it.

    Raises:
        DataError: The source is of a kind that is not streamed, or has nothing to evaluate on.
    """
    path = Path(config.source)
    if config.source in (*SOURCES, *GENERATED):
        raise DataError(f"'{config.source}' is not streamed: its rows are made here")
    if path.is_dir():
        rows, held = _from_folder(path, config, with_eval)
    elif path.is_file():
        rows, held = _from_files([path]), None
    else:
        rows, held = _from_hub(config, with_eval)
    if config.limit is not None:
        rows = rows.take(config.limit)
    if held is None and with_eval:
        raise DataError(
            f"{config.source}: nothing can be held out of a stream; name the data to evaluate on: --eval-data"
        )
    return Stream(rows, config.source, config.shuffle_buffer), {} if held is None else {"eval": held}


def _from_folder(folder: Path, config: DataConfig, with_eval: bool) -> tuple[IterableDataset, Dataset | None]:
    files = table_files(folder, config, known_splits(config))
    if not files:
        raise DataError(
            f"{folder}: found no tables to stream (train.jsonl, or train-00000-of-00008.parquet and its like; kinds = "
            f"{list(STREAM_SUFFIXES)}); folders of files need no streaming, as their names alone are held"
        )
    names = choose_splits(list(files), config)
    held = read_tables(files[names["eval"]], config) if with_eval and "eval" in names else None
    return _from_files(files[names["train"]]), held


def _from_files(paths: Sequence[Path]) -> IterableDataset:
    for path in paths:
        if path.suffix not in STREAM_SUFFIXES:
            kinds = list(STREAM_SUFFIXES)
            raise DataError(f"{path}: files of kind '{path.suffix}' are not streamed; choices = {kinds}")
    # A list among the arguments is what `datasets` shares out among processes and shuffles.
    return IterableDataset.from_generator(_rows, gen_kwargs={"paths": list(map(str, paths))})


def _rows(paths: Sequence[str]) -> Iterator[dict[str, Any]]:
    for path in paths:
        for origin, row in stream_rows(path):
            yield {**row, ORIGIN: origin}


def _from_hub(config: DataConfig, with_eval: bool) -> tuple[IterableDataset, Dataset | None]:
    parts = from_hub(config, streaming=True)
    names = choose_splits([str(name) for name in parts], config)
    if not with_eval or "eval" not in names:
        return parts[names["train"]], None
    evaluation = parts[names["eval"]]
    if config.limit is not None:
        evaluation = evaluation.take(config.limit)
    blocks = Stream(evaluation, f"{config.source} [{names['eval']}]", config.shuffle_buffer).in_order()
    return parts[names["train"]], concatenate_datasets(list(blocks))
