import pytest
import torch

from perceivers.processing.text import ByteTokenizer
from perceivers.tasks.masking import random_mask, random_word_mask

TOKENIZER = ByteTokenizer()


def text_batch(*texts: str) -> tuple[torch.Tensor, torch.Tensor]:
    ids, keep_mask = TOKENIZER.pad([TOKENIZER.encode(text) for text in texts])
    return torch.from_numpy(ids), torch.from_numpy(keep_mask)


def hidden_words(text: str, hidden: torch.Tensor) -> list[bool]:
    """Return which words are hidden; each must be hidden as a whole or not at all."""
    shown = bytes(0 if h else b for b, h in zip(text.encode(), hidden.tolist(), strict=True))
    words = []
    for before, after in zip(text.encode().split(), shown.split(), strict=True):
        assert after in (before, b"\0" * len(before))
        words.append(after != before)
    return words


def test_whole_words_are_hidden_each_on_its_own() -> None:
    torch.manual_seed(0)
    texts = ("two words\tand  more\n" * 40 + "größer", " short one ", "")
    ids, keep_mask = text_batch(*texts)
    counts = torch.zeros(161)
    for _ in range(300):
        hidden = random_word_mask(TOKENIZER.is_space(ids), keep_mask, 0.15)
        assert not hidden[~keep_mask].any()
        assert not hidden[TOKENIZER.is_space(ids)].any()
        counts += torch.tensor(hidden_words(texts[0], hidden[0, : len(texts[0].encode())])).float()
        hidden_words(texts[1], hidden[1, : len(texts[1])])
    # 48300 draws: the deviation of their mean is 0.0016, that of one word's 0.021.
    assert float(counts.mean() / 300) == pytest.approx(0.15, abs=0.008)
    assert float((counts / 300).std()) == pytest.approx(0.0206, abs=0.006)
    assert float((counts / 300 - 0.15).abs().max()) < 0.1


def test_neighbouring_words_are_independent() -> None:
    torch.manual_seed(0)
    ids, keep_mask = text_batch(*["ab cd"] * 20_000)
    hidden = random_word_mask(TOKENIZER.is_space(ids), keep_mask, 0.5)
    both = (hidden[:, 0] & hidden[:, 3]).float().mean()
    assert float(both) == pytest.approx(0.25, abs=0.02)


def test_single_bytes_are_hidden_each_on_its_own() -> None:
    torch.manual_seed(0)
    keep_mask = torch.arange(40)[None] < torch.tensor([40, 10])[:, None].repeat(1000, 1)
    hidden = random_mask(keep_mask, 0.3)
    assert not hidden[~keep_mask].any()
    assert float(hidden[keep_mask].float().mean()) == pytest.approx(0.3, abs=0.01)
