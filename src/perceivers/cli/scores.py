"""The work of `perceivers evaluate`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datasets import concatenate_datasets

from perceivers.cli import show
from perceivers.cli.models import open_model
from perceivers.config import from_json
from perceivers.data import DataConfig, load_data
from perceivers.train.evaluate import evaluate


def evaluate_model(
    model: Path, data: Mapping[str, Any], *, everything: bool, batch_size: int, device: str, as_json: bool
) -> None:
    """Print the metrics of a saved model over the evaluation split.

    Args:
        model: Folder of the model.
        data: Fields of `DataConfig`.
        everything: Score the training split too.
        batch_size: Examples a batch.
        device: Where to run.
        as_json: Print JSON.

    Raises:
        ValueError: The model or the data cannot be loaded, or the data has labels that the model does not know.
    """
    pipe = open_model(model, None, device)
    task = pipe.task
    splits = load_data(from_json(DataConfig, data, "data"), task.roles, labels=task.labels)
    rows = concatenate_datasets([splits.train, splits.eval]) if everything else splits.eval
    metrics = evaluate(task, pipe.model, rows, batch_size=batch_size)
    if as_json:
        show.json_line(
            {
                "model": str(model),
                "task": task.name,
                "data": splits.description,
                "examples": len(rows),
                "metrics": metrics,
            },
            indent=2,
        )
        return
    show.out().print(f"data    {splits.description}; scored on {len(rows):,}", markup=False)
    if splits.held_out and not everything:
        show.out().print("        the part that a training run holds out; --all scores every example", markup=False)
    show.score_table(metrics, task.score)
