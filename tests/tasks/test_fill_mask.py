import math
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from perceivers.config import override
from perceivers.model import PerceiverIO
from perceivers.pretrained.load import seeded_model
from perceivers.processing.utf8 import likeliest
from perceivers.tasks.fill_mask import FillMask, TextWindows
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


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluating"])
def test_only_hidden_bytes_are_decoded_and_the_loss_is_that_of_all(training: bool) -> None:
    task = make(mask_probability=0.3)
    model = seeded_model(CONFIG, 0).train(training)
    torch.manual_seed(0)
    batch = task.augment(collated(task, TEXT[:30], TEXT[30:62]), training=training)
    decoded: list[torch.Size] = []
    handle = model.decoder.register_forward_hook(lambda module, args, out: decoded.append(out.shape))
    step = task.step(model, batch)
    handle.remove()
    most = int((batch["target"] != -100).sum(dim=1).max())
    assert [shape[:2] for shape in decoded] == [(2, most)]
    assert most < LENGTH
    everything = model(batch)
    target = torch.full_like(batch["input_ids"], -100).scatter(1, batch["where"], batch["target"])
    expected = torch.nn.functional.cross_entropy(everything.flatten(0, 1), target.flatten())
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


def log_probabilities(task: FillMask, model: PerceiverIO, ids: np.ndarray, places: list[int]) -> np.ndarray:
    """Scores of bytes at places of a text that the model reads as a whole."""
    with torch.no_grad():
        logits = model(task.collate([{"input_ids": ids}]))[0, places].double().log_softmax(dim=-1)
    return logits[:, task.tokenizer.num_special :].numpy()


def test_filling_one_mask() -> None:
    task, model = make(), seeded_model(CONFIG, 0).eval()
    text = "The [MASK:3] sat."
    (result,) = task.predict(model, [text], top_k=4)
    assert len(result) == 4
    ids, [(start, stop)] = task.tokenizer.encode_with_masks(text)
    scores = log_probabilities(task, model, ids, [*range(start, stop)])
    expected = likeliest(scores, 4)
    for entry, (score, string) in zip(result, expected, strict=True):
        assert bytes(token - 6 for token in entry["token"]) == string
        assert entry["score"] == pytest.approx(math.exp(score), rel=1e-5)
        assert entry["token_str"] == string.decode()
        assert entry["sequence"] == f"The {entry['token_str']} sat."


def test_filling_several_masks() -> None:
    task, model = make(), seeded_model(CONFIG, 0).eval()
    (result,) = task.predict(model, ["a[MASK]b[MASK:2]c"], top_k=3)
    assert [[len(entry["token"]) for entry in run] for run in result] == [[1, 1, 1], [2, 2, 2]]
    ids, _ = task.tokenizer.encode_with_masks("a[MASK]b[MASK:2]c")
    first = likeliest(log_probabilities(task, model, ids, [1]), 3)
    second = likeliest(log_probabilities(task, model, ids, [3, 4]), 3)
    assert [entry["token_str"].encode() for entry in result[0]] == [string for _, string in first]
    assert [entry["token_str"].encode() for entry in result[1]] == [string for _, string in second]
    # The other run holds its own best.
    for entry in result[0]:
        assert entry["sequence"] == f"a{entry['token_str']}b{second[0][1].decode()}c"
    for entry in result[1]:
        assert entry["sequence"] == f"a{first[0][1].decode()}b{entry['token_str']}c"


def test_bytes_filled_in_turn_see_each_other() -> None:
    task, model = make(beams=300), seeded_model(CONFIG, 0).eval()
    ids, [(start, _)] = task.tokenizer.encode_with_masks("The [MASK:2] sat.")
    (result,) = task.predict(model, ["The [MASK:2] sat."], top_k=4)
    assert len(result) == 4
    alone = log_probabilities(task, model, ids, [start, start + 1])
    # The surest place is filled first, with a byte that can stand there in two bytes of text.
    fits = [[*range(0x80), *range(0xC2, 0xE0)], range(0xC0)]
    first = int(np.argmax([alone[place, list(fits[place])].max() for place in range(2)]))
    for entry in result:
        own, other = (entry["token"][place] - 6 for place in (first, 1 - first))
        filled = ids.copy()
        filled[start + first] = entry["token"][first]
        chain = alone[first, own] + log_probabilities(task, model, filled, [start + 1 - first])[0, other]
        assert entry["score"] == pytest.approx(math.exp(chain), rel=1e-5)
    assert [entry["score"] for entry in result] == sorted((entry["score"] for entry in result), reverse=True)
    # As many are followed as answers are wanted, whatever the setting.
    (few,) = make(beams=1).predict(model, ["The [MASK:2] sat."], top_k=4)
    assert len(few) == 4


def test_runs_filled_in_turn_stay_hidden_from_each_other() -> None:
    task, model = make(beams=8), seeded_model(CONFIG, 0).eval()
    text = "x" * 50 + "[MASK]a[MASK:2]" + "y" * 60
    (result,) = task.predict(model, [text], top_k=3)
    (plain,) = make().predict(model, [text], top_k=3)
    assert [[len(entry["token"]) for entry in run] for run in result] == [[1, 1, 1], [2, 2, 2]]
    # A single byte has none before it: it is filled as all at once are.
    assert [entry["token_str"] for entry in result[0]] == [entry["token_str"] for entry in plain[0]]
    assert [entry["score"] for entry in result[0]] == pytest.approx([entry["score"] for entry in plain[0]], rel=1e-5)


@pytest.mark.parametrize("text", ["été chaud", "日本語の文", "🙂 smile", "naïve"])
def test_fillings_are_utf8(text: str) -> None:
    task, model = make(), seeded_model(CONFIG, 0).eval()
    first = len(text[0].encode())
    (result,) = task.predict(model, [{"text": text, "spans": [[0, first]]}], top_k=5)
    for entry in result:
        assert len(entry["token_str"].encode()) == first
        assert "\ufffd" not in entry["sequence"]
        assert entry["sequence"].endswith(text[1:])


def test_a_word_or_bytes_can_be_hidden() -> None:
    task, model = make(), seeded_model(CONFIG, 0).eval()
    masked, hidden, spans = task.predict(
        model,
        ["the [MASK:3] then", {"text": "the sun then", "hide": "sun"}, {"text": "the sun then", "spans": [(4, 7)]}],
    )
    assert masked == hidden == spans


def test_answers_do_not_depend_on_the_batch() -> None:
    task, model = make(), seeded_model(CONFIG, 0).eval()
    texts = ["a[MASK]", "some more [MASK:2] text", *(f"{i} [MASK]" for i in range(9)), "[MASK:5]"]
    together = task.predict(model, texts, top_k=2)
    for text, result in zip(texts, together, strict=True):
        (alone,) = task.predict(model, [text], top_k=2)
        assert [entry["token"] for entry in alone] == [entry["token"] for entry in result]
        assert [entry["score"] for entry in alone] == pytest.approx([entry["score"] for entry in result], rel=1e-4)


def test_long_texts_are_read_by_windows() -> None:
    task, model = make(), seeded_model(CONFIG, 0).eval()
    text = "x" * 50 + "[MASK:3]" + "y" * 60 + "[MASK]" + "z" * 5
    (result,) = task.predict(model, [text], top_k=2)
    ids, spans = task.tokenizer.encode_with_masks(text)
    assert spans == [(50, 53), (113, 114)]
    # The first run lies in the middle of its window; the second at the end of the last.
    for run, start, (first, last) in ((result[0], 51 - 16, spans[0]), (result[1], len(ids) - LENGTH, spans[1])):
        scores = log_probabilities(task, model, ids[start : start + LENGTH], [*range(first - start, last - start)])
        assert [entry["token_str"].encode() for entry in run] == [string for _, string in likeliest(scores, 2)]
        assert all(len(entry["sequence"]) == len(ids) for entry in run)


def test_special_tokens_frame_the_text() -> None:
    plain, framed, model = make(), make(special_tokens=True), seeded_model(CONFIG, 0).eval()
    (result,) = framed.predict(model, ["The [MASK:2]!"], top_k=3)
    ids, _ = plain.tokenizer.encode_with_masks("The [MASK:2]!")
    ids = np.concatenate([[plain.tokenizer.cls_id], ids, [plain.tokenizer.sep_id]])
    scores = log_probabilities(plain, model, ids, [5, 6])
    assert [entry["token_str"].encode() for entry in result] == [string for _, string in likeliest(scores, 3)]
    assert result[0]["sequence"] == f"The {result[0]['token_str']}!"
    assert framed.prepare({"text": "x" * 99})["input_ids"].tolist() == [4, *[ord("x") + 6] * (LENGTH - 2), 5]


def test_pieces_cover_the_text() -> None:
    task = make()
    pieces = [piece["input_ids"] for piece in task.pieces("v" * 70)]
    assert [len(piece) for piece in pieces] == [LENGTH, LENGTH, LENGTH]
    (piece,) = task.pieces({"text": "hide me", "hide": "me"})
    assert piece["input_ids"].tolist() == [*task.tokenizer.encode("hide "), 3, 3]
    with pytest.raises(ValueError, match="the text is empty"):
        list(task.pieces(""))


@pytest.mark.parametrize(
    ("text", "start"), [("é" * 30, 20), ("a" * 400, 0), ("é" * 3000, 5000), ("b" * 3000, 2999), ("c" * 3000, 0)]
)
def test_the_picture_shows_what_was_hidden(text: str, start: int, monkeypatch) -> None:
    drawn: list[str] = []

    def draw(text: str) -> Image.Image:
        drawn.append(text)
        return Image.new("RGB", (1, 1))

    monkeypatch.setattr("perceivers.tasks.fill_mask.draw_text", draw)
    hidden = len(text.encode()[:start].decode())
    filled = text[:hidden] + "X" + text[hidden + 1 :]
    make().picture(
        text[:hidden] + "[MASK]" + text[hidden + 1 :], [{"token_str": "X", "score": 1.0, "sequence": filled}]
    )
    assert "X" in drawn[0]
    assert len(drawn[0]) <= 406
    assert drawn[0].startswith("...") == (len(text) > 400 and hidden > 150)
    assert drawn[0].strip(".") in filled


def test_the_picture_shows_every_run() -> None:
    task, model = make(), seeded_model(CONFIG, 0).eval()
    one, three = "a[MASK]", "a[MASK]b[MASK]c[MASK]"
    results = task.predict(model, [one, three])
    heights = [task.picture(text, result).height for text, result in zip((one, three), results, strict=True)]
    assert heights[1] > 2.5 * heights[0]


def test_texts_that_cannot_be_filled_are_refused() -> None:
    task, model = make(), seeded_model(CONFIG, 0).eval()
    with pytest.raises(ValueError, match=r"no \[MASK\] or \[MASK:n\] in 'nothing'"):
        task.predict(model, ["nothing"])
    with pytest.raises(ValueError, match=r"\[MASK:40\] is longer than the model reads \(32 bytes\)"):
        task.predict(model, ["x[MASK:40]"])
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
        ({"beams": -1}, r"beams \(-1\) must not be negative"),
        ({"masking": "letters"}, r"masking = 'letters' is not one of \['words', 'bytes'\]"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**settings)


def test_models_of_another_kind_are_refused() -> None:
    with pytest.raises(ValueError, match="needs a model with text inputs and outputs, not 'text' and 'label'"):
        FillMask.fit(ZOO["text-classifier-small"].config, None, {})


def test_models_that_do_not_know_all_bytes_are_refused() -> None:
    config = override(CONFIG, {"inputs.vocab_size": 100})
    with pytest.raises(ValueError, match="reads bytes, which need a vocab_size of 262; the model's is 100"):
        FillMask.fit(config, None, {}).predict(seeded_model(config, 0).eval(), ["a[MASK]"])
