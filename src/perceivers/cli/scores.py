"""The work of `perceivers evaluate`."""

from collections.abc import Mapping
from typing import Any

from datasets import concatenate_datasets

from perceivers.cli import show
from perceivers.cli.models import ModelRequest, open_model
from perceivers.config import from_json
from perceivers.data import DataConfig, load_data
from perceivers.train.evaluate import evaluate


def evaluate_model(
    model: ModelRequest,
    data: Mapping[str, Any],
    *,
    everything: bool,
    batch_size: int | None,
    as_json: bool,
) -> None:
    """Print the metrics of a trained model over the evaluation split.

    Args:
        model: The model and its task.
        data: Fields of `DataConfig`.
        everything: Score the training split too.
        batch_size: Examples a batch; `None` leaves it to the task.
        as_json: Print JSON.

    Raises:
        ValueError: The model or the data cannot be loaded, or the data has labels that the model does not know.
    """
    pipe = open_model(model)
    task = pipe.task
    config = from_json(DataConfig, data, "data")
    splits = load_data(config, task.roles_for(task.config), labels=task.labels, optional_roles=task.optional_roles)
    rows = concatenate_datasets([splits.rows, splits.eval]) if everything else splits.eval
    metrics = evaluate(task, pipe.model, rows, batch_size=batch_size or task.batch_size)
    if as_json:
        show.json_line(
            {
                "model": model.model or model.name,
                "weights": pipe.origin,
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
