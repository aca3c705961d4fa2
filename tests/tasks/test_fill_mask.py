import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch

from perceivers.config import override
from perceivers.pretrained.load import seeded_model
from perceivers.tasks.fill_mask import FillMask, TextWindows, likeliest
from perceivers.train import evaluate
from perceivers.zoo import ZOO
from train_examples import TINY

LENGTH = 32
CONFIG = override(ZOO["language-small"].config, {**TINY, "inputs.max_length": LENGTH, "queries.max_length": LENGTH})
TEXT = "It was the best of times, it was the worst of times, it was the age of wisdom"


def make(**settings: Any) -> FillMask:
    return FillMask.fit(CONFIG, None, settings)


def collated(task: FillMask, *texts: str) -> dict[str, torch.Tensor]:
    return task.collate([task.prepare({"text": text}) for text in texts])


def test_hidden_bytes_are_the_targets() -> None:
    torch.manual_seed(0)
    task = make(mask_probability=0.4)
    clean = collated(task, TEXT[:30], "a b c d e f")
    batch = task.augment(clean, training=True)
    counts = batch["target"] != -100
    for row in range(2):
        where = batch["where"][row][counts[row]]
        assert torch.equal(batch["target"][row][counts[row]], clean["input_ids"][row, where])
        shown = clean["input_ids"][row].clone()
        shown[where] = task.tokenizer.mask_id
        assert torch.equal(batch["input_ids"][row], shown)
        assert len(set(where.tolist())) == len(where)
    # The input is left as it was.
    assert not (clean["input_ids"] == task.tokenizer.mask_id).any()


def test_only_targets_that_count_enter_the_loss() -> None:
    task = make()
    model = seeded_model(CONFIG, 0).eval()
    both = task.augment(collated(task, TEXT[:30], "a b c"), training=False)
    step = task.step(model, both)
    counts = step.targets != -100
    assert not counts.all()
    expected = torch.nn.functional.cross_entropy(step.outputs[counts], step.targets[counts])
    torch.testing.assert_close(step.loss, expected)


def test_nothing_hidden_gives_a_loss_of_zero() -> None:
    task = make(mask_probability=0.01)
    torch.manual_seed(0)
    batch = task.augment(collated(task, "a"), training=True)
    assert (batch["target"] == -100).all()
    loss = task.step(seeded_model(CONFIG, 0), batch).loss
    assert float(loss.detach()) == 0
    loss.backward()


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_a_share_of_training_texts_hides_single_bytes(share: float) -> None:
    torch.manual_seed(0)
    task = make(mask_probability=0.5, byte_share=share)
    clean = collated(task, *["ab cd ef gh ij kl mn op"] * 2000)
    spaces = clean["input_ids"][0] == task.tokenizer.encode(" ")[0]
    hides_space = {}
    for training in (True, False):
        hidden = task.augment(clean, training=training)["input_ids"] == task.tokenizer.mask_id
        hides_space[training] = float(hidden[:, spaces].any(dim=1).float().mean())
    # With seven spaces, one text in 128 hides none of them.
    assert hides_space[True] == pytest.approx(share * (1 - 0.5**7), abs=0.03)
    assert hides_space[False] == 0


def test_replacing_and_keeping_have_their_shares() -> None:
    torch.manual_seed(0)
    task = make(masking="bytes", mask_probability=0.5, replace_random=0.2, keep_same=0.3)
    clean = collated(task, *["abcdefghijklmnopqrstuvwxyz"] * 2000)
    batch = task.augment(clean, training=True)
    hidden = torch.zeros_like(clean["keep_mask"]).scatter(1, batch["where"], batch["target"] != -100)
    before, after = clean["input_ids"][hidden], batch["input_ids"][hidden]
    assert float(hidden.float().mean()) == pytest.approx(0.5, abs=0.01)
    assert float((after == task.tokenizer.mask_id).float().mean()) == pytest.approx(0.5, abs=0.01)
    # One in 256 random bytes is the byte itself.
    assert float((after == before).float().mean()) == pytest.approx(0.3 + 0.2 / 256, abs=0.01)
    assert torch.equal(batch["input_ids"][~hidden], clean["input_ids"][~hidden])
    replaced = after[(after != before) & (after != task.tokenizer.mask_id)]
    assert replaced.min() >= task.tokenizer.num_special
    assert replaced.max() < task.tokenizer.vocab_size
    assert len(replaced.unique()) > 240


@pytest.mark.parametrize("masking", ["words", "bytes"])
def test_evaluation_hides_the_same_whatever_the_batch(masking: str) -> None:
    task = make(masking=masking, replace_random=0.5)
    texts = [TEXT[i : i + 5 + 3 * i] for i in range(9)]
    model = seeded_model(CONFIG, 0)

    def hidden(*texts: str) -> dict[str, list[int]]:
        batch = task.augment(collated(task, *texts), training=False)
        pairs = zip(texts, batch["where"], batch["target"], strict=True)
        return {text: where[target != -100].tolist() for text, where, target in pairs}

    together = hidden(*texts)
    assert len({tuple(where) for where in together.values()}) > 5
    assert all(together.values())
    for text in texts:
        torch.manual_seed(len(text))
        assert hidden(text) == {text: together[text]}
    assert hidden(*reversed(texts)) == together
    rows = [{"text": TEXT}] * 5
    scores = [evaluate(task, model, rows, batch_size=size) for size in (3, 8)]
    assert scores[0] == pytest.approx(scores[1], rel=1e-5)


def test_scores_of_a_model_that_knows_nothing() -> None:
    task = make()
    model = seeded_model(CONFIG, 0)
    with torch.no_grad():
        model.inputs.embedding.weight.zero_()
    scores = evaluate(task, model, [{"text": TEXT}])
    assert scores["bits_per_byte"] == pytest.approx(math.log2(262), rel=1e-5)


def test_windows_cover_all_text_once() -> None:
    task = make(train_stride=5)
    texts = [TEXT, "more", "été"]
    joined = task.tokenizer.encode("\n".join(texts))
    windows = task.dataset([{"text": text} for text in texts], training=False)
    ids = [windows[i]["input_ids"] for i in range(len(windows))]
    np.testing.assert_array_equal(np.concatenate(ids), joined)
    assert [len(row) for row in ids[:-1]] == [LENGTH] * (len(ids) - 1)
    dense = task.dataset([{"text": text} for text in texts], training=True)
    starts = list(dense.starts)
    assert starts == list(range(0, starts[-1] + 1, 5))
    assert starts[-1] + LENGTH >= len(joined) > starts[-1] + LENGTH - 5


@pytest.mark.parametrize(("length", "expected"), [(0, 0), (1, 1), (LENGTH, 1), (LENGTH + 1, 2)])
def test_numbers_of_windows(length: int, expected: int) -> None:
    assert len(TextWindows(["x" * length], make().tokenizer, LENGTH, LENGTH)) == expected
    assert len(TextWindows(["x" * length], make().tokenizer, LENGTH, 7)) == expected


def test_an_empty_split_is_refused() -> None:
    with pytest.raises(ValueError, match="the evaluation split is empty"):
        evaluate(make(), seeded_model(CONFIG, 0), [{"text": ""}])


def test_likeliest_equals_trying_all() -> None:
    torch.manual_seed(0)
    table = (torch.randn(3, 5, dtype=torch.float64) * 2).log_softmax(dim=-1)
    every = [
        (sum(float(table[i, byte]) for i, byte in enumerate(string)), string)
        for string in itertools.product(range(5), repeat=3)
    ]
    every.sort(reverse=True)
    for top_k in (1, 4, 60, 200):
        found = likeliest(table, top_k)
        assert [tuple(string.tolist()) for _, string in found] == [string for _, string in every[:top_k]]
        assert [score for score, _ in found] == pytest.approx([score for score, _ in every[:top_k]])


def test_filling_one_mask() -> None:
    task, model = make(), seeded_model(CONFIG, 0).eval()
    text = "The [MASK:3] sat."
    (result,) = task.predict(model, [text], top_k=4)
    assert len(result) == 4
    ids, [(start, stop)] = task.tokenizer.encode_with_masks(text)
    logits = model(task.collate([{"input_ids": ids}]))[0, start:stop].detach().double().log_softmax(dim=-1)
    for entry in result:
        assert len(entry["token"]) == 3
        assert min(entry["token"]) >= task.tokenizer.num_special
        score = sum(float(logits[i, token]) for i, token in enumerate(entry["token"]))
        assert entry["score"] == pytest.approx(math.exp(score), rel=1e-5)
        assert entry["token_str"] == task.tokenizer.decode(entry["token"])
        filled = ids.copy()
        filled[start:stop] = entry["token"]
        assert entry["sequence"] == task.tokenizer.decode(filled)
    best = logits[:, task.tokenizer.num_special :].argmax(dim=-1) + task.tokenizer.num_special
    assert result[0]["token"] == best.tolist()


def test_filling_several_masks() -> None:
    task, model = make(), seeded_model(CONFIG, 0).eval()
    text = "a[MASK]b[MASK:2]c"
    (result,) = task.predict(model, [text], top_k=3)
    assert [len(entry["token"]) for entry in result] == [1, 1, 1]
    ids, spans = task.tokenizer.encode_with_masks(text)
    assert spans == [(1, 2), (3, 5)]
    logits = model(task.collate([{"input_ids": ids}]))[0, 3:5]
    second = logits[:, task.tokenizer.num_special :].argmax(dim=-1) + task.tokenizer.num_special
    for entry in result:
        filled = ids.copy()
        filled[1:2], filled[3:5] = entry["token"], second.numpy()
        assert entry["sequence"] == task.tokenizer.decode(filled)


def test_texts_that_cannot_be_filled_are_refused() -> None:
    task, model = make(), seeded_model(CONFIG, 0).eval()
    with pytest.raises(ValueError, match=r"no \[MASK\] or \[MASK:n\] in 'nothing'"):
        task.predict(model, ["nothing"])
    with pytest.raises(ValueError, match=r"text of 41 bytes is longer than the model reads \(32\)"):
        task.predict(model, ["x" * 40 + "[MASK]"])
    with pytest.raises(ValueError, match=r"\[MASK:0\]"):
        task.predict(model, ["a [MASK:0]"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mask_probability": 0.0}, r"mask_probability \(0.0\) must lie between 0 and 1"),
        ({"byte_share": 1.5}, r"byte_share \(1.5\) must lie between 0 and 1"),
        ({"replace_random": 0.6, "keep_same": 0.5}, "must be shares of at most 1"),
        ({"replace_random": -0.1}, "must be shares of at most 1"),
        ({"train_stride": 0}, r"train_stride \(0\) must be at least 1"),
        ({"masking": "letters"}, r"masking = 'letters' is not one of \['words', 'bytes'\]"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**settings)


def test_models_of_another_kind_are_refused() -> None:
    with pytest.raises(ValueError, match="needs a model with text inputs and outputs, not 'text' and 'label'"):
        FillMask.fit(ZOO["text-classifier-small"].config, None, {})
