"""Rows that are made when they are asked for, and data to evaluate on from elsewhere."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from datasets import concatenate_datasets
from torch.utils.data import DataLoader

from perceivers.data import GENERATED, DataConfig, DataError, GeneratedSource, Splits, load_data
from perceivers.train.recipe import load_recipe, prepare_run
from perceivers.train.repeat import by_folds


@dataclass(frozen=True, kw_only=True)
class Noise(GeneratedSource):
    """Noise of a given length under the role `text`, to have a role that needs no file."""

    roles: ClassVar[tuple[str, ...]] = ("text",)
    length: int = 4

    def row(self, random: np.random.Generator) -> Mapping[str, Any]:
        return {"text": "".join(random.choice(list("abcdefgh"), self.length))}


@pytest.fixture(autouse=True)
def noise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(GENERATED._items, "noise", Noise)


def load(source: str = "noise", roles: tuple[str, ...] = ("text",), **fields: Any) -> Splits:
    return load_data(DataConfig(source=source, **fields), roles)


def texts(rows: Any) -> list[str]:
    return [row["text"] for row in rows]


def test_rows_follow_from_their_split_and_number() -> None:
    splits = load(options={"num_train": 30, "num_test": 20, "length": 8})
    assert splits.description == "noise: 30 training and 20 evaluation examples"
    assert not splits.held_out
    assert splits.train[7] == Noise(length=8).row(np.random.default_rng([0, 7]))
    assert splits.eval[7] == Noise(length=8).row(np.random.default_rng([1, 7]))
    assert len(set(texts(splits.train) + texts(splits.eval))) == 50
    # Asking for them in another order, one by one or by slices, changes nothing.
    assert [splits.train[i]["text"] for i in (9, 3)] == [texts(splits.train)[i] for i in (9, 3)]
    assert splits.train[2:5]["text"] == texts(splits.train)[2:5]


def test_rows_are_made_after_choosing_joining_and_limiting() -> None:
    splits = load(options={"num_train": 30, "num_test": 20})
    everything = concatenate_datasets([splits.train, splits.eval])
    assert texts(everything) == texts(splits.train) + texts(splits.eval)
    assert texts(splits.train.select([5, 1])) == [splits.train[i]["text"] for i in (5, 1)]
    limited = load(options={"num_train": 30, "num_test": 20}, limit=6)
    assert (len(limited.train), len(limited.eval)) == (6, 6)
    assert set(texts(limited.train)) < set(texts(splits.train))


def test_workers_make_the_same_rows() -> None:
    rows = load(options={"num_train": 12}).train
    expected = texts(rows)
    for num_workers in (0, 2):
        loader = DataLoader(rows, batch_size=5, num_workers=num_workers)  # pyright: ignore[reportArgumentType]
        assert [text for batch in loader for text in batch["text"]] == expected


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"options": {"width": 3}}, r"options of noise has unknown fields \['width'\]; known fields = .*'length'"),
        ({"options": {"num_train": 0}}, r"num_train \(0\) must be at least 1"),
        ({"options": {"length": "long"}}, r"options of noise.length = 'long' must be of type int"),
        ({"subset": "white"}, "'noise' has no subset 'white'"),
        ({"train_split": "dev"}, r"noise has no split 'dev'; splits = \['test', 'train'\]"),
        ({"roles": ("text", "label")}, r"noise \[train\] has no column for 'label'; columns = \['text'\]"),
        ({"roles": ("context", "question", "answers")}, r"noise \[train\] has no column for 'context'"),
        ({"source": "digits", "options": {"length": 3}}, r"'digits' takes no options, got {'length': 3}; .*'noise'"),
        ({"source": "absent"}, r"none of the built-in .*'noise'.*, and could not be loaded"),
    ],
)
def test_what_is_not_made_is_refused(fields: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ValueError, match=message):
        load(**fields)


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(["text", *lines]) + "\n", encoding="utf-8")
    return path


def test_data_to_evaluate_on_may_be_others(tmp_path: Path) -> None:
    table = write(tmp_path / "real.csv", "one", "two", "three")
    splits = load(options={"num_train": 30}, evaluation=DataConfig(source=str(table)))
    assert texts(splits.eval) == ["one", "two", "three"]
    assert splits.description == f"noise: 30 training examples; {table}: 3 evaluation examples"
    assert not splits.held_out
    assert texts(splits.train) == texts(load(options={"num_train": 30}).train)
    # The other way round, and from a folder with splits: its own test is what is taken.
    splits = load(str(table), evaluation=DataConfig(source="noise", options={"num_test": 5}))
    assert (texts(splits.train), len(splits.eval)) == (["one", "two", "three"], 5)
    folder = tmp_path / "parts"
    folder.mkdir()
    for name, lines in {"train": ("a", "b"), "test": ("c",), "dev": ("d", "e")}.items():
        write(folder / f"{name}.csv", *lines)
    assert texts(load(evaluation=DataConfig(source=str(folder))).eval) == ["c"]
    assert texts(load(evaluation=DataConfig(source=str(folder), eval_split="dev")).eval) == ["d", "e"]
    assert len(load(evaluation=DataConfig(source=str(folder), eval_split="dev", limit=1)).eval) == 1
    assert len(load(evaluation=DataConfig(source=str(folder), eval_split="dev"), limit=1).eval) == 1
    text = tmp_path / "book.txt"
    text.write_text("Some text.\n" * 4000, encoding="utf-8")
    assert "".join(texts(load(evaluation=DataConfig(source=str(text))).eval)).count("text") == 4000


def test_names_of_labels_are_those_of_the_training_data(tmp_path: Path) -> None:
    train, other = tmp_path / "train.csv", tmp_path / "other.csv"
    train.write_text("text,label\na,x\nb,y\nc,z\n")
    other.write_text("message,kind\nd,z\ne,x\n")
    evaluation = DataConfig(source=str(other), columns={"label": "kind"})
    splits = load(str(train), ("text", "label"), evaluation=evaluation)
    assert (splits.labels, list(splits.eval["label"])) == (("x", "y", "z"), [2, 0])
    other.write_text("message,kind\nd,w\n")
    with pytest.raises(DataError, match="w"):
        load(str(train), ("text", "label"), evaluation=evaluation)
    other.write_text("message\nd\n")
    with pytest.raises(DataError, match=rf"{other} \[eval\] has no column for 'label'"):
        load(str(train), ("text", "label"), evaluation=DataConfig(source=str(other)))


def test_configs_that_say_twice_what_to_evaluate_on_are_refused() -> None:
    noise = DataConfig(source="noise")
    with pytest.raises(ValueError, match="eval_split 'dev' names a split of 'x', which is not evaluated on"):
        DataConfig(source="x", eval_split="dev", evaluation=noise)
    with pytest.raises(ValueError, match="cannot have other data to evaluate on"):
        DataConfig(source="x", evaluation=DataConfig(source="y", evaluation=noise))


def test_a_run_says_what_it_was_trained_and_scored_on() -> None:
    recipe = load_recipe("digits", {"data.limit": 200, "data.evaluation": {"source": "digits", "eval_split": "train"}})
    run = prepare_run(recipe)
    assert run.about.data == "digits"
    assert run.about.sizes == "200 examples; trained on 200 of digits"
    # Folds are cut out of the training data, whatever else there is.
    part = by_folds(recipe, run.splits, 2)[0]
    assert part.recipe.data.evaluation is None
