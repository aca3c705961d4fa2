"""The work of `perceivers evaluate`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datasets import concatenate_datasets

from perceivers.cli import show
from perceivers.cli.models import open_model
from perceivers.config import from_json, override
from perceivers.data import DataConfig, load_data
from perceivers.train.evaluate import evaluate
from perceivers.train.recipe import parse_yaml


def evaluate_model(
    model: Path,
    data: Mapping[str, Any],
    *,
    settings: Mapping[str, str],
    everything: bool,
    batch_size: int,
    device: str,
    as_json: bool,
) -> None:
    """Print the metrics of a saved model over the evaluation split.

    Args:
        model: Folder of the model.
        data: Fields of `DataConfig`.
        settings: Settings of the task to change, as YAML by dotted path.
        everything: Score the training split too.
        batch_size: Examples a batch.
        device: Where to run.
        as_json: Print JSON.

    Raises:
        ValueError: The model or the data cannot be loaded, or the data has labels that the model does not know.
    """
    pipe = open_model(model, None, device)
    changes = {path: parse_yaml(text, f"--set {path}") for path, text in settings.items()}
    task = type(pipe.task)(override(pipe.task.settings, changes), pipe.model.config)
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
