"""`perceivers bulk`: answers to more inputs than fit into memory."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from perceivers.cli.options import (
    BatchSize,
    Columns,
    Device,
    Json,
    Memory,
    Plugins,
    Precision,
    Settings,
    examples,
    pairs,
)

EXAMPLES = examples(
    "perceivers bulk runs/sms-spam messages.csv --output answers/",
    "perceivers bulk runs/eurosat photos/ --output answers/ --form parquet",
    "perceivers bulk runs/reviews stanfordnlp/imdb --split test --output answers/ --shard 0/4",
    "torchrun --nproc_per_node 4 -m perceivers.cli bulk runs/sms-spam messages.csv --output answers/",
)


def bulk(
    model: Annotated[str, typer.Argument(metavar="TASK|MODEL", help="A task or a model.", show_default=False)],
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A table (.jsonl, .csv, .tsv, .parquet, .txt), a folder of files, or a data set of the Hub.",
            show_default=False,
        ),
    ],
    output: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the answers.", show_default=False)],
    form: Annotated[str, typer.Option(metavar="jsonl|parquet", help="Kind of the files.")] = "jsonl",
    rows_per_part: Annotated[int, typer.Option(min=1, help="Inputs a file; what is lost at most.")] = 1000,
    shard: Annotated[
        str | None, typer.Option(metavar="I/N", help="Write every N-th file, from file I on; torchrun sets it.")
    ] = None,
    subset: Annotated[str | None, typer.Option(help="Subset of a data set of the Hub.")] = None,
    split: Annotated[str | None, typer.Option(help="Split of a data set of the Hub.")] = None,
    column: Columns = None,
    top_k: Annotated[int, typer.Option(min=1, help="How many candidates.")] = 5,
    batch_size: BatchSize = None,
    device: Device = "cpu",
    memory: Memory = None,
    precision: Precision = "float32",
    set_: Settings = None,
    plugin: Plugins = None,
    as_json: Json = False,
) -> None:
    """Answer a whole source, file by file; the same command goes on where it was cut short."""
    from perceivers.cli import show
    from perceivers.cli.models import ModelRequest, open_model
    from perceivers.cli.plugins import import_plugins
    from perceivers.config import from_json
    from perceivers.tasks.bulk import BulkPlan, answer_parts

    import_plugins(plugin or [])
    which = shard_of(shard)
    pipe = open_model(
        ModelRequest(
            name=model,
            model=None,
            task=None,
            settings=pairs(set_, "--set"),
            numerics=None,
            revision=None,
            device=device,
            memory=memory,
            precision=precision,
        )
    )
    words = " ".join(word for word in (source, subset, split) if word)
    fields = {"source": words, "model": model, "rows_per_part": rows_per_part, "form": form, "top_k": top_k}
    plan = from_json(BulkPlan, fields, "bulk")
    inputs = named_inputs(pipe.task, source, subset, split, pairs(column, "--column"))
    rows = errors = files = 0
    for part in answer_parts(pipe, inputs, output, plan, shard=which, batch_size=batch_size):
        files, rows, errors = files + 1, rows + part.num_rows, errors + part.num_errors
        done = "wrote" if part.is_new else "kept "
        show.err().print(f"{done}   {part.path}  {part.num_rows:,} answers, {part.num_errors} errors", markup=False)
    if as_json:
        show.json_line({"output": str(output), "files": files, "rows": rows, "errors": errors})
    else:
        show.out().print(f"{rows:,} answers in {files} files of {output}, {errors} errors", markup=False)
    if errors:
        raise typer.Exit(1)


def shard_of(text: str | None) -> tuple[int, int]:
    """Read I/N; without it, a process that torchrun started takes its own number.

    Raises:
        ValueError: The text has another form.
    """
    if text is None:
        return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal() and int(number) < int(count)):
        raise ValueError(f"--shard '{text}' must have the form I/N with I from 0 to N - 1")
    return int(number), int(count)


def named_inputs(
    task: Any, source: str, subset: str | None, split: str | None, columns: dict[str, str]
) -> Iterator[tuple[str, Any]]:
    """Yield name and value of each input of a folder, a table or a data set."""
    from perceivers.data.inputs import predict_inputs
    from perceivers.data.roles import DataError
    from perceivers.data.streams import stream_rows, with_roles

    if Path(source).is_dir():
        yield from predict_inputs([source], task.input_role)
        return
    roles = (*task.roles_for(task.config), *task.optional_roles)
    unknown = sorted(set(columns) - set(roles))
    if unknown:
        raise ValueError(f"columns name roles {unknown} that {task.name} does not have; roles = {list(roles)}")
    for name, row in stream_rows(source, subset=subset, split=split):
        found = with_roles(row, roles, source, columns)
        try:
            value = task.input_of(found)
        except KeyError as error:
            role = error.args[0]
            raise DataError(
                f"{name}: no column for '{role}'; columns = {list(row)}. Name it: --column {role}=<column>"
            ) from error
        yield name, value
