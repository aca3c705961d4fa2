import dataclasses
import json
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import pytest

from perceivers.data import DataConfig, Splits, load_data
from perceivers.train import Recipe, TrainConfig, by_folds, by_seeds, repeat
from perceivers.train.loop import Trainer
from train_examples import TINY

WIDTHS = {**TINY, "inputs.max_length": 16, "queries.num_channels": 16, "decoder.num_heads": 2}


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    path = tmp_path / "texts.csv"
    lines = [f"text number {i},{'a' if i % 3 else 'b'}" for i in range(30)]
    path.write_text("\n".join(["text,label", *lines]) + "\n")
    train = TrainConfig(max_steps=2, batch_size=8, tracker=None, seed=3)
    return Recipe(task="text-classification", data=DataConfig(source=str(path)), overrides=WIDTHS, train=train)


@pytest.fixture
def splits(recipe: Recipe) -> Splits:
    return load_data(recipe.data, ("text", "label"))


def test_seeds_give_mean_and_deviation_and_a_model_each(recipe: Recipe, splits: Splits, tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    summary = repeat(by_seeds(recipe, splits, 3), folder, show_progress=False)
    assert list(summary.runs) == ["seed-3", "seed-4", "seed-5"]
    scores = [metrics["accuracy"] for metrics in summary.runs.values()]
    assert summary.mean["accuracy"] == mean(scores)
    assert summary.deviation["accuracy"] == stdev(scores)
    for name, metrics in summary.runs.items():
        assert json.loads((folder / name / "metrics.json").read_text())["accuracy"] == metrics["accuracy"]
        assert f"seed: {name[-1]}" in (folder / name / "recipe.yaml").read_text()
        assert (folder / name / "model.safetensors").is_file()
    assert json.loads((folder / "summary.json").read_text()) == vars(summary)
    assert (folder / "seed-3/model.safetensors").read_bytes() != (folder / "seed-4/model.safetensors").read_bytes()


def test_finished_runs_are_kept(
    recipe: Recipe, splits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = by_seeds(recipe, splits, 2)
    whole = repeat(parts, tmp_path / "runs", show_progress=False)
    (tmp_path / "runs/seed-4/metrics.json").unlink()
    began = []
    run = Trainer.run

    def counted(self: Trainer, *, resume: bool = False) -> Any:
        began.append((self.folder.name, resume))
        return run(self, resume=resume)

    monkeypatch.setattr(Trainer, "run", counted)
    assert repeat(parts, tmp_path / "runs", resume=True, show_progress=False) == whole
    assert began == [("seed-4", True)]


def test_folds_hold_out_each_example_once_with_its_share_of_classes(recipe: Recipe, splits: Splits) -> None:
    parts = by_folds(recipe, splits, 4)
    assert [part.name for part in parts] == ["fold-0", "fold-1", "fold-2", "fold-3"]
    held_out = [text for part in parts for text in part.splits.eval["text"]]
    assert sorted(held_out) == sorted(splits.train["text"])
    counts = [part.splits.eval["label"].count(1) for part in parts]
    assert max(counts) - min(counts) <= 1
    for part in parts:
        assert not set(part.splits.train["text"]) & set(part.splits.eval["text"])
        assert len(part.splits.train) + len(part.splits.eval) == len(splits.train)
    assert not set(splits.eval["text"]) & set(held_out)
    assert by_folds(recipe, splits, 4)[2].splits.eval["text"] == parts[2].splits.eval["text"]


def test_a_single_run_has_no_deviation(recipe: Recipe, splits: Splits) -> None:
    with pytest.raises(ValueError, match=r"seeds \(1\) must be at least 2"):
        by_seeds(recipe, splits, 1)
    with pytest.raises(ValueError, match=r"folds \(20\) must be at most the \d+ training examples of the rarest class"):
        by_folds(recipe, splits, 20)
    unlabelled = dataclasses.replace(splits, labels=None)
    with pytest.raises(ValueError, match=r"folds \(99\) must be at most the 24 training examples"):
        by_folds(recipe, unlabelled, 99)
