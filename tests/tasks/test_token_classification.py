from typing import Any

import numpy as np
import pytest
import seqeval.metrics
import torch

from perceivers.config import override
from perceivers.pretrained.load import seeded_model
from perceivers.tasks.base import Step
from perceivers.tasks.pipeline import Pipeline
from perceivers.tasks.scores.entities import EntityScore
from perceivers.tasks.token_classification import TokenClassification
from perceivers.train import TrainConfig, Trainer
from perceivers.train.config import OptimizerConfig
from perceivers.zoo import ZOO
from train_examples import TINY

TAGS = ("O", "B-person", "I-person", "B-place", "I-place")
SMALL = {
    **TINY,
    "inputs.max_length": 24,
    "queries.max_length": 24,
    "queries.num_before": 2,
    "queries.num_after": 8,
    "queries.positions.num_channels": 16,
}


def small_task(settings: dict[str, Any] | None = None) -> TokenClassification:
    config = override(ZOO["token-classifier-small"].config, SMALL)
    return TokenClassification.fit(config, TAGS, settings or {})


def told(batch: Any, where: torch.Tensor) -> torch.Tensor:
    """Answer each word by its first byte: capitals begin persons, digits are inside places."""
    first = batch["input_ids"].gather(1, where) - 6
    ids = torch.where(first < 58, 4, torch.where(first < 91, 1, 0))
    return 9.0 * torch.nn.functional.one_hot(ids, len(TAGS)).float()


def test_a_sentence_is_read_by_windows_and_each_word_asked_once() -> None:
    task = small_task()
    words = [f"w{i}" * (1 + i % 3) for i in range(20)]
    item = task.prepare({"tokens": words, "tags": [i % 5 for i in range(20)]})
    assert len(item["input_ids"]) > 2
    assert max(map(len, item["input_ids"])) <= 24
    asked = [
        bytes((ids[place:] - 6).astype(np.uint8)).split(b" ")[0].decode()
        for ids, places in zip(item["input_ids"], item["where"], strict=True)
        for place in places
    ]
    assert asked == words
    assert item["target"].tolist() == [i % 5 for i in range(20)]


def test_the_answer_of_each_word_is_that_of_its_own_sentence() -> None:
    task = small_task()
    model = seeded_model(task.config, 0).eval()
    texts = [["Ada", "sang"], [f"word{i}" for i in range(9)], ["été"]]
    alone = [task._scores(model, task.collate([task.prepare({"tokens": words})])) for words in texts]
    batch = task.collate([task.prepare({"tokens": words}) for words in texts])
    assert batch["sentence"].tolist() == [0] * 2 + [1] * 9 + [2]
    torch.testing.assert_close(task._scores(model, batch), torch.cat(alone), rtol=1e-4, atol=1e-5)


def test_a_word_longer_than_the_model_reads_is_answered_by_its_first_bytes() -> None:
    item = small_task().prepare({"tokens": ["a", "x" * 100, "b"]})
    assert [len(ids) for ids in item["input_ids"]] == [1, 24, 1]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Ada met 9 at\nÖrs, Bob.", [("person", "Ada", 0), ("place", "9", 8), ("person", "Bob", 18)]),
        (["Ada", "of 1", "2nd", "3"], [("person", "Ada", 0), ("place", "2nd 3", 9)]),
        ({"tokens": ["Ada", "Bob"]}, [("person", "Ada", 0), ("person", "Bob", 4)]),
        ({"text": "nobody"}, []),
        ("été " * 30 + "Zoe", [("person", "Zoe", 120)]),
    ],
)
def test_entities_have_characters_of_the_given_text(
    value: Any, expected: list[tuple[str, str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    task = small_task()
    model = seeded_model(task.config, 0).eval()
    monkeypatch.setattr(model, "forward", told)
    (result,) = task.predict(model, [value])
    # Signs have bytes below those of digits, and count as such here.
    found = [(entry["entity_group"], entry["word"], entry["start"]) for entry in result]
    assert [entry for entry in found if entry[1] not in (",", ".")] == expected
    for entry in result:
        assert entry["end"] == entry["start"] + len(entry["word"])
        assert entry["score"] == pytest.approx(np.exp(9) / (np.exp(9) + 4))


def test_several_texts_are_answered_as_one_by_one() -> None:
    task = small_task()
    pipe = Pipeline(task, seeded_model(task.config, 0))
    texts = ["Ada sang in Paris.", "x", "many words " * 20]
    together = pipe(texts)
    assert [len(result) for result in together] == [len(pipe(text)) for text in texts]
    assert pipe([["Ada", "sang"]])[0] == pipe({"tokens": ["Ada", "sang"]})
    for ours, theirs in zip(together[2], pipe(texts[2]), strict=True):
        assert ours == {**theirs, "score": pytest.approx(theirs["score"], rel=1e-4)}


@pytest.mark.parametrize("value", ["", " \n", [], ["a", ""], ["a", 3], {"text": ""}])
def test_inputs_without_words_are_refused(value: Any) -> None:
    task = small_task()
    with pytest.raises(ValueError, match=r"has no words|words that are not empty"):
        task.predict(seeded_model(task.config, 0).eval(), [value])


def test_scores_are_those_of_seqeval() -> None:
    noise = np.random.default_rng(0)
    true, found = (
        [noise.choice(TAGS, size=n, p=[0.4, 0.2, 0.15, 0.15, 0.1]).tolist() for n in (7, 1, 12, 30)] for _ in range(2)
    )
    task = small_task()
    metrics = task.metrics()
    ids = [torch.tensor([TAGS.index(tag) for sentence in part for tag in sentence]) for part in (found, true)]
    sentence = torch.repeat_interleave(torch.arange(4), torch.tensor([7, 1, 12, 30]))
    # One batch, or one sentence after the other.
    task.update(metrics, Step(torch.zeros(()), torch.eye(5)[ids[0]], {"tags": ids[1], "sentence": sentence}))
    scores = {name: float(value) for name, value in metrics.compute().items()}
    assert scores == pytest.approx(
        {
            "f1": seqeval.metrics.f1_score(true, found),
            "precision": seqeval.metrics.precision_score(true, found),
            "recall": seqeval.metrics.recall_score(true, found),
            "accuracy": seqeval.metrics.accuracy_score(true, found),
        }
    )
    assert 0 < scores["f1"] < 1


def test_nothing_to_count_scores_nothing() -> None:
    for alpha in (0.0, 0.5, 1.0):
        score = EntityScore(alpha)
        score.update([["O"]], [["O"]])
        assert float(score.compute()) == 0


def test_weight_and_smoothing_count_while_training_only() -> None:
    row = {"tokens": ["Ada", "sang"], "tags": [1, 0]}
    losses = {}
    for name, settings in {"plain": {}, "weight": {"outside_weight": 0.1}, "smooth": {"label_smoothing": 0.5}}.items():
        task = small_task(settings)
        model = seeded_model(task.config, 0)
        batch = task.collate([task.prepare(row)])
        for training in (True, False):
            losses[name, training] = float(task.step(model.train(training), batch).loss.detach())
    assert losses["plain", True] == losses["plain", False] == losses["weight", False] == losses["smooth", False]
    assert len({losses[name, True] for name in ("plain", "weight", "smooth")}) == 3


def test_bytes_are_hidden_while_training_only() -> None:
    task = small_task({"byte_dropout": 0.5})
    batch = task.collate([task.prepare({"tokens": ["Ada", "sang"], "tags": [1, 0]})])
    torch.manual_seed(0)
    assert (task.augment(batch, training=True)["input_ids"] == task.tokenizer.mask_id).any()
    assert torch.equal(task.augment(batch, training=False)["input_ids"], batch["input_ids"])


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, r"needs the tags 'O' and B-<type>; the data has \[\]"),
        (("O",), r"the data has \['O'\]"),
        (("B-a", "I-a"), r"the data has \['B-a', 'I-a'\]"),
        (("O", "S-a"), "tag 'S-a' must be O, B-<type> or I-<type>"),
    ],
)
def test_labels_that_are_no_tags_are_refused(labels: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TokenClassification.fit(ZOO["token-classifier-small"].config, labels, {})


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("digits-small", "needs a model with text inputs, not 'image-patches'"),
        ("language-small", "needs a model with 'label' outputs, not 'text'"),
        ("text-classifier-small", "needs a query for each byte, not 'learned' queries"),
    ],
)
def test_models_for_something_else_are_refused(model: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TokenClassification.fit(ZOO[model].config, TAGS, {})


@pytest.mark.parametrize(("name", "value"), [("byte_dropout", 1.0), ("outside_weight", 0.0)])
def test_settings_out_of_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        small_task({name: value})


def test_a_name_is_learned(tmp_path) -> None:
    noise = np.random.default_rng(0)
    rows = []
    for _ in range(64):
        words = ["Ada", "Lovelace", *noise.choice(["rain", "in", "may", "sun"], size=3)]
        order = noise.permutation(4)
        # The two parts of the name stay together.
        groups = [["Ada", "Lovelace"], *([word] for word in words[2:])]
        tokens = [word for i in order for word in groups[i]]
        rows.append({"tokens": tokens, "tags": [{"Ada": 1, "Lovelace": 2}.get(word, 0) for word in tokens]})
    task = small_task()
    rate = OptimizerConfig(learning_rate=0.01)
    config = TrainConfig(max_steps=60, batch_size=16, tracker=None, optimizer=rate, num_threads=1)
    trainer = Trainer(task, seeded_model(task.config, 0), rows[:48], rows[48:], config, tmp_path, show_progress=False)
    assert trainer.run().metrics["f1"] > 0.95
