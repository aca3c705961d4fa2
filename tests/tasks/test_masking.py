import pytest
import torch

from perceivers.adapters.text import TextInputConfig
from perceivers.processing.text import ByteTokenizer
from perceivers.tasks.masking import (
    grid_blocks,
    left_out,
    places_of,
    random_mask,
    random_word_mask,
    share_mask,
)

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


def test_blocks_lie_on_the_grid() -> None:
    assert grid_blocks((3, 4), 2).tolist() == [0, 0, 1, 1, 0, 0, 1, 1, 2, 2, 3, 3]
    assert grid_blocks((2, 2, 3), 1).tolist() == list(range(12))
    assert grid_blocks((5,), 3).tolist() == [0, 0, 0, 1, 1]


@pytest.mark.parametrize(
    ("share", "counts"), [(0.5, [6, 2, 1, 0, 0]), (0.01, [1, 1, 1, 0, 0]), (0.99, [11, 4, 1, 0, 0])]
)
def test_a_share_of_what_is_there_is_hidden(share: float, counts: list[int]) -> None:
    keep_mask = torch.arange(12) < torch.tensor([[12], [5], [2], [1], [0]])
    hidden = share_mask(keep_mask, grid_blocks((12,), 1), share)
    assert not hidden[~keep_mask].any()
    assert hidden.sum(dim=1).tolist() == counts


def test_blocks_are_hidden_as_a_whole() -> None:
    torch.manual_seed(0)
    blocks = grid_blocks((8, 8), 4)
    for hidden in share_mask(torch.ones(20, 64, dtype=torch.bool), blocks, 0.5):
        assert sorted(int(hidden[blocks == block].sum()) for block in range(4)) == [0, 0, 16, 16]
    (hidden,) = share_mask(torch.ones(1, 64, dtype=torch.bool), blocks, 0.3)
    assert sorted(int(hidden[blocks == block].sum()) for block in range(4)) == [0, 0, 3, 16]


def test_a_seed_hides_the_same_whatever_is_beside_and_behind() -> None:
    alone = share_mask(torch.ones(1, 30, dtype=torch.bool), grid_blocks((30,), 4), 0.4, [7])
    keep_mask = torch.arange(50) < torch.tensor([[50], [30]])
    beside = share_mask(keep_mask, grid_blocks((50,), 4), 0.4, [8, 7])
    assert torch.equal(beside[1, :30], alone[0])
    assert not torch.equal(beside[0, :30], alone[0])
    state = torch.get_rng_state()
    share_mask(keep_mask, grid_blocks((50,), 4), 0.4, [8, 7])
    assert torch.equal(torch.get_rng_state(), state)


def test_places_are_filled_up_to_the_longest_row() -> None:
    where, counts = places_of(torch.tensor([[False, True, True], [False, False, True], [False, False, False]]))
    assert where[0].tolist() == [1, 2]
    assert where[1, 0] == 2
    assert counts.tolist() == [[True, True], [True, False], [False, False]]


def test_tokens_are_left_out_for_a_while() -> None:
    inputs = TextInputConfig.example().build()
    batch = inputs.example_batch(2)
    everything = inputs(batch)
    hidden = torch.zeros(2, 12, dtype=torch.bool)
    hidden[0, 3] = hidden[1, :2] = True
    with left_out(inputs, hidden):
        some = inputs(batch)
    # The last byte of each is padding.
    assert some.keep_mask is not None
    assert some.keep_mask.sum(dim=1).tolist() == [10, 9]
    assert torch.equal(some.values[1, :9], everything.values[1, 2:11])
    assert torch.equal(some.content[0, :3], everything.content[0, :3])
    assert inputs(batch).values.shape == everything.values.shape
