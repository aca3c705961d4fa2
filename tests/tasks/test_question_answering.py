from typing import Any

import numpy as np
import pytest
import torch

from perceivers.config import override
from perceivers.pretrained.load import seeded_model
from perceivers.tasks.answer_spans import likeliest_spans
from perceivers.tasks.pipeline import Pipeline
from perceivers.tasks.question_answering import QuestionAnswering
from perceivers.tasks.scores.answers import AnswerScore
from perceivers.train import TrainConfig, Trainer, evaluate
from perceivers.train.config import OptimizerConfig
from perceivers.zoo import ZOO
from train_examples import TINY

SMALL = {
    **TINY,
    "inputs.max_length": 64,
    "queries.max_length": 64,
    "queries.num_before": 2,
    "queries.num_after": 2,
    "queries.positions.num_channels": 16,
}
CONTEXT = "L'été, Ada Lovelace was born in London — so they say. " * 3


def small_task(settings: dict[str, Any] | None = None) -> QuestionAnswering:
    config = override(ZOO["question-answering-small"].config, SMALL)
    return QuestionAnswering.fit(config, None, {"overlap": 16, **(settings or {})})


def row(text: str | None, start: int = 0, **changes: Any) -> dict[str, Any]:
    answers = {"text": [], "answer_start": []} if text is None else {"text": [text], "answer_start": [start]}
    return {"question": "Who?", "context": CONTEXT, "answers": answers, **changes}


def teach(model: Any, monkeypatch: pytest.MonkeyPatch, first: int, last: int, null: float = 0.0) -> None:
    """Let a model look for two bytes: the first of an answer, and its last."""

    def forward(batch: Any) -> torch.Tensor:
        scores = 20.0 * torch.stack([batch["input_ids"] == first + 6, batch["input_ids"] == last + 6], dim=-1).float()
        scores[:, 0] = null
        return scores

    monkeypatch.setattr(model, "forward", forward)


def test_windows_hold_the_question_and_cover_the_context() -> None:
    task = small_task()
    item = task.prepare(row("London", 32))
    data = CONTEXT.encode()
    assert len(item["input_ids"]) > 2
    covered = set()
    for ids, offset in zip(item["input_ids"], item["offset"], strict=True):
        assert len(ids) <= 64
        assert ids[[0, 5]].tolist() == [task.tokenizer.cls_id, task.tokenizer.sep_id]
        assert task.tokenizer.decode(ids[:6]) == "Who?"
        places = range(6, len(ids))
        assert bytes((ids[6:] - 6).astype(np.uint8)) == data[6 + offset : len(ids) + offset]
        covered |= {place + offset for place in places}
    assert covered == set(range(len(data)))


def test_targets_are_the_bytes_of_the_answer_where_a_window_holds_it() -> None:
    task = small_task()
    item = task.prepare(row("London", 32))
    held = 0
    for ids, (first, last) in zip(item["input_ids"], item["target"], strict=True):
        if first:
            held += 1
            assert task.tokenizer.decode(ids[first : last + 1]) == "London"
        else:
            assert last == 0
    assert 1 <= held < len(item["target"])
    assert task.prepare(row(None))["target"] == [(0, 0)] * len(item["target"])


def test_answers_begin_and_end_at_whole_characters() -> None:
    task = small_task()
    item = task.prepare(row(None))
    data = CONTEXT.encode()
    for starts, ends, offset in zip(item["starts"], item["ends"], item["offset"], strict=True):
        assert starts[0]
        assert not starts[1:6].any()
        for place in range(6, len(starts)):
            byte = place + offset
            assert starts[place] == (data[byte] & 0xC0 != 0x80)
            assert ends[place] == (byte + 1 == len(data) or data[byte + 1] & 0xC0 != 0x80)


def test_the_likeliest_spans_are_those_of_all() -> None:
    noise = np.random.default_rng(0)
    for longest in (1, 3, 40):
        starts, ends = (np.where(noise.random(12) < 0.3, -np.inf, np.log(noise.random(12))) for _ in range(2))
        every = [(starts[i] + ends[j], i, j + 1) for i in range(12) for j in range(i, min(i + longest, 12))]
        expected = sorted((span for span in every if np.isfinite(span[0])), reverse=True)
        for top_k in (1, 4, 500):
            found = likeliest_spans(starts, ends, longest, top_k)
            assert [(span.start, span.stop) for span in found] == [span[1:] for span in expected[:top_k]]
            assert [span.score for span in found] == pytest.approx(np.exp([span[0] for span in expected[:top_k]]))


def test_an_answer_has_the_characters_of_the_given_context(monkeypatch: pytest.MonkeyPatch) -> None:
    task = small_task()
    model = seeded_model(task.config, 0).eval()
    # Long enough for several windows, and with characters of several bytes before it.
    context = "é — ü " * 20 + "then [Zoë] came " + "å" * 40
    teach(model, monkeypatch, ord("["), ord("]"))
    (result,) = task.predict(model, [("Who?", context)], top_k=3)
    best = result[0]
    assert (best["answer"], best["start"]) == ("[Zoë]", context.index("["))
    assert context[best["start"] : best["end"]] == best["answer"]
    assert best["score"] > 0.99
    assert len(result) == 3
    # A longer one than the setting allows is not given.
    far = "x [" + "a" * 30 + "] y"
    assert task.predict(model, [("Who?", far)], top_k=1)[0][0]["answer"] == "[" + "a" * 30 + "]"
    short = type(task)(small_task({"longest_answer": 8}).settings, task.config)
    (result,) = short.predict(model, [("Who?", far)], top_k=5)
    assert all(len(entry["answer"]) <= 8 for entry in result)


def test_no_answer_competes_where_questions_may_have_none(monkeypatch: pytest.MonkeyPatch) -> None:
    model = seeded_model(small_task().config, 0).eval()
    teach(model, monkeypatch, ord("["), ord("]"), null=10.0)
    with_, without = ("Who?", "so [Zoë] came " + "." * 200), ("Who?", "nobody came " + "." * 200)
    may = small_task({"no_answer": True})
    assert may.predict(model, [with_], top_k=1)[0][0]["answer"] == "[Zoë]"
    (result,) = may.predict(model, [without], top_k=2)
    assert result[0] == {"answer": "", "start": 0, "end": 0, "score": result[0]["score"]}
    assert result[0]["score"] > 0.9 > result[1]["score"]
    assert all(entry["answer"] for entry in small_task().predict(model, [without], top_k=5)[0])
    may.picture(without, result)


def test_scores_are_those_of_squad(monkeypatch: pytest.MonkeyPatch) -> None:
    task = small_task({"no_answer": True})
    model = seeded_model(task.config, 0).eval()
    teach(model, monkeypatch, ord("["), ord("]"), null=5.0)
    context = "one [the cat sat] two " + "." * 100
    rows = [
        row("the cat sat", 5, context=context),
        row("cat", 9, context=context),
        {**row(None, context=context), "answers": [{"text": "two", "start": 18}, {"text": "cat sat", "start": 9}]},
        row(None, context="nothing here"),
        row(None, context=context),
    ]
    scores = evaluate(task, model, rows, batch_size=2)
    # The brackets are punctuation and "the" an article: "cat sat" was found, of which "cat" is the half.
    assert scores == pytest.approx({"exact_match": 3 / 5, "f1": (1 + 2 / 3 + 1 + 1 + 0) / 5})
    assert evaluate(task, model, rows, batch_size=5) == pytest.approx(scores)


def test_scores_of_single_answers() -> None:
    score = AnswerScore("f1")
    score.update(["A cat, sat!"], [["dog", "the cat sat down"]])
    assert float(score.compute()) == pytest.approx(0.8)
    score.update([""], [[""]])
    assert float(score.compute()) == pytest.approx(0.9)


def test_a_pipeline_takes_questions_in_many_forms() -> None:
    task = small_task()
    pipe = Pipeline(task, seeded_model(task.config, 0))
    one = pipe("Who?", CONTEXT, top_k=2)
    assert len(one) == 2
    mapping = {"question": "Who?", "context": CONTEXT}
    assert pipe(mapping, top_k=2) == pipe(("Who?", CONTEXT), top_k=2) == one
    for several in ([mapping, mapping], [("Who?", CONTEXT)] * 2):
        results = pipe(several, top_k=2)
        assert [[entry["answer"] for entry in result] for result in results] == [[entry["answer"] for entry in one]] * 2
    assert len(pipe(mapping, top_k=1)) == 1


@pytest.mark.parametrize("value", [("Who?", ""), (" ", "text"), {"question": "Who?"}, ["a", "b", "c"], (1, 2), "Who?"])
def test_inputs_without_question_or_context_are_refused(value: Any) -> None:
    task = small_task()
    with pytest.raises(ValueError, match="question-answering takes a question and its context"):
        task.predict(seeded_model(task.config, 0), [value])


def test_a_call_with_a_question_alone_is_refused() -> None:
    with pytest.raises(ValueError, match=r"takes a question and its context, not 'Who.' alone"):
        small_task().gather(["Who?"])


def test_what_cannot_be_read_is_refused() -> None:
    task = small_task()
    with pytest.raises(ValueError, match=r"the question has 60 bytes; of the 64 .* overlap \(16\) must be left"):
        task.prepare(row("London", 32, question="?" * 60))
    with pytest.raises(ValueError, match=r"'Who.': the answer 'London' does not stand at character 31"):
        task.prepare(row("London", 31))
    with pytest.raises(ValueError, match=r"'Who.' has no answer; such need the setting no_answer=true"):
        task.dataset([row("London", 32), row(None)], training=True)
    assert len(small_task({"no_answer": True}).dataset([row(None)], training=True)) == 1  # pyright: ignore


@pytest.mark.parametrize(("name", "value"), [("overlap", 7), ("longest_answer", 0), ("byte_dropout", 1.0)])
def test_settings_out_of_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        small_task({name: value})


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
        QuestionAnswering.fit(ZOO[model].config, None, {})


def test_the_text_is_hidden_while_training_only() -> None:
    task = small_task({"byte_dropout": 0.5})
    batch = task.collate([task.prepare(row("London", 32))])
    torch.manual_seed(0)
    shown = task.augment(batch, training=True)["input_ids"]
    assert (shown == task.tokenizer.mask_id).any()
    assert torch.equal(shown[:, [0, 5]], batch["input_ids"][:, [0, 5]])
    assert task.augment(batch, training=False) is batch


def test_long_contexts_are_drawn_around_the_answer() -> None:
    task = small_task()
    context = "word " * 3000 + "here"
    result = [{"answer": "here", "start": 15000, "end": 15004, "score": 0.5}]
    picture = task.picture(("Where?", context), result)
    assert picture.height < 1500


def test_what_stands_in_brackets_is_learned(tmp_path: Any) -> None:
    noise = np.random.default_rng(0)
    rows = []
    for _ in range(64):
        words = noise.choice(["rain", "in", "may", "sun"], size=6).tolist()
        place = int(noise.integers(6))
        answer = words[place]
        words[place] = f"<{answer}>"
        context = " ".join(words)
        rows.append(row(answer, context.index("<") + 1, context=context))
    task = small_task({"longest_answer": 8})
    rate = OptimizerConfig(learning_rate=0.01)
    config = TrainConfig(max_steps=80, batch_size=16, tracker=None, optimizer=rate, num_threads=1)
    trainer = Trainer(task, seeded_model(task.config, 0), rows[:48], rows[48:], config, tmp_path, show_progress=False)
    assert trainer.run().metrics["exact_match"] > 0.8
