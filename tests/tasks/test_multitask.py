import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef
from torch.nn import functional

from perceivers.config import override
from perceivers.data import DataConfig
from perceivers.pretrained.folder import save_folder
from perceivers.pretrained.load import seeded_model
from perceivers.processing.text import ByteTokenizer
from perceivers.tasks.multitask import MultitaskTextClassification, equal_shares
from perceivers.tasks.pipeline import pipeline
from perceivers.tasks.scores.several import MultitaskScore
from perceivers.tasks.subtasks import Subtask
from perceivers.tasks.text_classification import TextClassification
from perceivers.tasks.texts import read_texts
from perceivers.train import Recipe, TrainConfig, evaluate, prepare_run
from perceivers.zoo import ZOO
from train_examples import TINY

CHANGES = {**TINY, "inputs.max_length": 16, "queries.num_channels": 16, "decoder.num_heads": 2}
CONFIG = override(ZOO["multitask-text-small"].config, CHANGES)
LABELS = ("mood/good", "mood/bad", "topic/sea", "topic/land", "topic/sky", "alike/score")


def task_of(**settings: Any) -> MultitaskTextClassification:
    return MultitaskTextClassification.fit(CONFIG, LABELS, settings)


def batch_of(task: MultitaskTextClassification, rows: list[tuple[str, float]]) -> dict[str, torch.Tensor]:
    texts = ("one", "two", "three", "four")
    return task.collate(
        [
            task.prepare({"task": name, "text": text, "label": label})
            for (name, label), text in zip(rows, texts, strict=False)
        ]
    )


def test_the_model_has_a_query_a_task_and_an_output_a_label() -> None:
    task = task_of()
    assert [(one.name, one.labels, one.outputs) for one in task.tasks] == [
        ("mood", ("good", "bad"), slice(0, 2)),
        ("topic", ("sea", "land", "sky"), slice(2, 5)),
        ("alike", (), slice(5, 6)),
    ]
    model = seeded_model(task.config, 0)
    assert model.queries.table.shape == (3, 16)
    assert model.outputs.linear.out_features == 6


def test_the_loss_is_that_of_each_text_s_own_task() -> None:
    task = task_of(loss_weights={"alike": 0.5})
    model = seeded_model(task.config, 0).eval()
    batch = batch_of(task, [("mood", 1), ("topic", 2), ("alike", 3.5), ("mood", 0)])
    answers = model(batch)  # (B, O, E), all queries
    losses = [
        functional.cross_entropy(answers[0, 0, 0:2], torch.tensor(1)),
        functional.cross_entropy(answers[1, 1, 2:5], torch.tensor(2)),
        0.5 * (answers[2, 2, 5] - 3.5) ** 2,
        functional.cross_entropy(answers[3, 0, 0:2], torch.tensor(0)),
    ]
    torch.testing.assert_close(task.step(model, batch).loss, torch.stack(losses).mean())


def test_a_task_moves_its_own_query_and_outputs_only() -> None:
    task = task_of(label_smoothing=0.1)
    model = seeded_model(task.config, 0).train()
    task.step(model, batch_of(task, [("topic", 0), ("topic", 2)])).loss.backward()
    moved = model.outputs.linear.weight.grad.abs().sum(dim=1) > 0
    assert moved.tolist() == [False, False, True, True, True, False]
    assert (model.queries.table.grad.abs().sum(dim=1) > 0).tolist() == [False, True, False]


def test_scores_are_those_of_other_libraries() -> None:
    tasks = (Subtask("pair", ("no", "yes"), 0), Subtask("many", ("a", "b", "c"), 2), Subtask("number", (), 5))
    metric = MultitaskScore(
        tasks, {"pair": ("accuracy", "positive_f1"), "many": ("matthews",), "number": ("spearman",)}
    )
    noise = np.random.default_rng(0)
    found = {0: noise.integers(0, 2, 40), 1: noise.integers(0, 3, 30), 2: noise.normal(size=20)}
    wanted = {0: noise.integers(0, 2, 40), 1: noise.integers(0, 3, 30), 2: found[2] + noise.normal(size=20)}
    for i in found:
        for rows in np.array_split(np.arange(len(found[i])), 3):
            values = (torch.tensor(part[i][rows], dtype=torch.float64) for part in (found, wanted))
            metric.update(torch.full((len(rows),), i), *values)
    scores = {name: float(value) for name, value in metric.compute().items()}
    expected = {
        "pair_accuracy": accuracy_score(wanted[0], found[0]),
        "pair_f1": f1_score(wanted[0], found[0], average="macro"),
        "pair_positive_f1": f1_score(wanted[0], found[0]),
        "pair_matthews": matthews_corrcoef(wanted[0], found[0]),
        "many_accuracy": accuracy_score(wanted[1], found[1]),
        "many_f1": f1_score(wanted[1], found[1], average="macro"),
        "many_matthews": matthews_corrcoef(wanted[1], found[1]),
        "number_pearson": pearsonr(wanted[2], found[2]).statistic,
        "number_spearman": spearmanr(wanted[2], found[2]).statistic,
        "number_mse": np.square(wanted[2] - found[2]).mean(),
    }
    pair = (expected["pair_accuracy"] + expected["pair_positive_f1"]) / 2
    expected["mean_score"] = (pair + expected["many_matthews"] + expected["number_spearman"]) / 3
    assert scores == pytest.approx(expected, rel=1e-5)


def test_tasks_that_are_not_in_the_data_have_no_score() -> None:
    task = task_of()
    rows = [{"task": "topic", "text": f"text {i}", "label": float(i % 3)} for i in range(5)]
    scores = evaluate(task, seeded_model(task.config, 0), rows)
    assert set(scores) == {"mean_score", "topic_accuracy", "topic_f1", "topic_matthews"}
    assert scores["mean_score"] == scores["topic_accuracy"]


def test_equal_mixing_repeats_the_smaller_tasks() -> None:
    tasks = ["a"] * 7 + ["b"] * 2 + ["c"] * 3
    chosen = equal_shares(tasks)
    assert sorted(chosen[:7].tolist()) == list(range(7))
    counts = np.bincount(chosen, minlength=12)
    assert [counts[:7].sum(), counts[7:9].sum(), counts[9:].sum()] == [7, 7, 7]
    assert counts[7:9].min() >= 3
    assert counts[9:].min() >= 2
    rows = [{"task": "mood", "text": "x", "label": 0.0}] * 3 + [{"task": "alike", "text": "y", "label": 1.0}]
    for mixing, size in (("proportional", 4), ("equal", 6)):
        task = task_of(mixing=mixing)
        assert len(task.dataset(rows, training=True)) == size
        assert len(task.dataset(rows, training=False)) == 4


def test_all_tasks_are_answered_or_the_one_that_is_named(tmp_path: Path) -> None:
    task = task_of()
    save_folder(seeded_model(task.config, 0), tmp_path / "model", task.to_json())
    pipe = pipeline(model=tmp_path / "model")
    answer = pipe("good morning", top_k=2)
    assert {name: len(entries) for name, entries in answer.items()} == {"mood": 2, "topic": 2, "alike": 1}
    assert {entry["label"] for entry in answer["mood"]} == {"good", "bad"}
    assert sum(entry["score"] for entry in answer["mood"]) == pytest.approx(1)
    assert answer["alike"][0]["label"] == "score"
    one, all_again = pipe([{"text": "good morning", "task": "topic"}, "good morning"], top_k=2)
    assert list(one) == ["topic"]
    assert one["topic"][0]["score"] == pytest.approx(answer["topic"][0]["score"], rel=1e-5)
    assert list(all_again) == ["mood", "topic", "alike"]
    assert pipe.task.summary(one) == [one]
    assert pipe.picture({"text": "good", "text_pair": "well"}).height > 100
    for value, message in (
        ({"text": "x", "task": "smell"}, r"task 'smell' not found; tasks = \['mood', 'topic', 'alike'\]"),
        ("", "text 0 is empty; multitask-text-classification needs at least one character"),
    ):
        with pytest.raises(ValueError, match=message):
            pipe(value)


def test_a_run_from_files_to_a_saved_model(tmp_path: Path) -> None:
    for name, labels in (("spam", "ab"), ("topic", "xyz")):
        (tmp_path / "texts" / name).mkdir(parents=True)
        for split in ("train", "test"):
            rows = [f"text {i},{labels[i % len(labels)]}" for i in range(6)]
            (tmp_path / "texts" / name / f"{split}.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    recipe = Recipe(
        task="multitask-text-classification",
        overrides=CHANGES,
        data=DataConfig(source=str(tmp_path / "texts")),
        settings={"mixing": "equal", "scores": {"topic": ["f1"]}},
        train=TrainConfig(max_steps=3, batch_size=4, tracker=None),
    )
    prepare_run(recipe).trainer(tmp_path / "run", show_progress=False).run()
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["mean_score"] == pytest.approx((metrics["spam_accuracy"] + metrics["topic_f1"]) / 2)
    assert pipeline(model=tmp_path / "run").task.settings.scores == {"topic": ("f1",)}


@pytest.mark.parametrize(
    ("labels", "settings", "message"),
    [
        (None, {}, "needs labels; the data has none"),
        (LABELS, {"scores": {"smell": ["f1"]}}, r"scores name \['smell'\], which are no tasks; tasks = \['mood',"),
        (LABELS, {"scores": {"alike": ["f1"]}}, r"scores of 'alike' \['f1'\] must be some of \['pearson',"),
        (LABELS, {"scores": {"topic": ["positive_f1"]}}, r"scores of 'topic' \['positive_f1'\] must be some of"),
        (LABELS, {"scores": {"topic": []}}, r"scores of 'topic' \[\] must be some of"),
        (LABELS, {"loss_weights": {"mood": -1.0}}, r"loss_weights \{'mood': -1.0\} must be numbers of at least 0"),
    ],
)
def test_wrong_settings_are_refused(labels: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MultitaskTextClassification.fit(CONFIG, labels, settings)


def test_a_model_without_learned_queries_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a model with 'learned' queries and 'label' outputs, not 'text'"):
        MultitaskTextClassification.fit(ZOO["language-small"].config, LABELS, {})
    with pytest.raises(ValueError, match="needs a model with text inputs, not 'image-"):
        MultitaskTextClassification.fit(ZOO["digits-small"].config, LABELS, {})


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("abc", "xyz", "abc|xyz"),
        ("abcdefgh", "x", "abcdef|x"),
        ("a", "stuvwxyz", "a|stuvwx"),
        ("abcdefgh", "stuvwxyz", "abc|stuv"),
        ("abc", "", "abc|"),
        ("abcdefghij", None, "abcdefgh"),
    ],
)
def test_the_longer_of_two_texts_is_cut(first: str, second: str | None, expected: str) -> None:
    tokenizer = ByteTokenizer()

    def shown(ids: np.ndarray) -> str:
        return "".join("|" if i == tokenizer.sep_id else tokenizer.decode([i]) for i in ids.tolist())

    assert shown(read_texts(first, second, 8, special_tokens=False)) == expected
    framed = read_texts(first, second, 10, special_tokens=True)
    assert (framed[0], framed[-1]) == (tokenizer.cls_id, tokenizer.sep_id)
    assert shown(framed[1:-1]) == expected


def test_text_classification_takes_pairs() -> None:
    config = override(ZOO["text-classifier-small"].config, CHANGES)
    task = TextClassification.fit(config, ("a", "b"), {})
    model = seeded_model(task.config, 0).eval()
    row = {"text": "one", "text_pair": "two", "label": 1}
    value = task.input_of(row)
    assert value == {"text": "one", "text_pair": "two"}
    assert np.array_equal(task.prepare(value)["input_ids"], task.prepare(row)["input_ids"])
    (pair,), (alone,) = task.predict(model, [value]), task.predict(model, ["one"])
    assert pair[0]["score"] != alone[0]["score"]
    assert task.picture(value, pair).size[0] > 400
