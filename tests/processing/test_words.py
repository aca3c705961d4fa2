import numpy as np
import pytest

from perceivers.processing.words import find_words, join_words, word_windows


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Ada went.", ["Ada", "went", "."]),
        ("@ada_l (e-mail: a@b.co) #hi 3.14!", ["@ada_l", "(", "e-mail", ":", "a@b.co", ")", "#hi", "3.14", "!"]),
        ("I'm in the U.S. -- really", ["I'm", "in", "the", "U.S", ".", "-", "-", "really"]),
        # Accents and vowel signs stay with their letters, and what selects a form with its sign.
        (
            "e\u0301te\u0301 \u0939\u093f\u0928\u094d\u0926\u0940",
            ["e\u0301te\u0301", "\u0939\u093f\u0928\u094d\u0926\u0940"],
        ),
        ("\u2764\ufe0fyes", ["\u2764\ufe0f", "yes"]),
        (" \n\t", []),
    ],
)
def test_words_are_found_with_their_places(text: str, words: list[str]) -> None:
    found = find_words(text)
    assert found.strings() == words
    assert len(found) == len(words)
    assert all(text[start:stop] == word for (start, stop), word in zip(found.spans, words, strict=True))


def test_nothing_but_white_space_lies_between_words() -> None:
    noise = np.random.default_rng(0)
    for _ in range(200):
        text = "".join(noise.choice(list("aB1 _-'.@#&/\n\u00e9\u0301\u2764\ufe0f")) for _ in range(30))
        spans = find_words(text).spans
        covered = {i for start, stop in spans for i in range(start, stop)}
        assert len(covered) == sum(stop - start for start, stop in spans)
        assert all(text[i].isspace() for i in set(range(len(text))) - covered)


def test_given_words_are_joined_by_spaces() -> None:
    words = join_words(["New York", "\u00e9t\u00e9", "!"])
    assert words.text == "New York \u00e9t\u00e9 !"
    assert words.strings() == ["New York", "\u00e9t\u00e9", "!"]


def test_a_short_sentence_is_one_window() -> None:
    (window,) = word_windows(np.array([3, 4, 2]), 11)
    assert (window.words, window.kept) == ((0, 3), (0, 3))
    assert len(word_windows(np.array([3, 4, 2]), 10)) == 2


@pytest.mark.parametrize("room", [5, 17, 40])
def test_every_word_counts_in_one_window_that_reads_it_as_a_whole(room: int) -> None:
    noise = np.random.default_rng(room)
    for _ in range(50):
        lengths = noise.integers(1, 30, noise.integers(1, 60))
        windows = word_windows(lengths, room)
        assert [word for window in windows for word in range(*window.kept)] == list(range(len(lengths)))
        for window in windows:
            (first, stop), (kept, kept_stop) = window.words, window.kept
            assert first <= kept < kept_stop <= stop
            # Words that are longer than the window stand alone.
            assert sum(lengths[first:stop] + 1) - 1 <= room or stop == first + 1


def test_neighbouring_windows_share_words_and_part_in_the_middle() -> None:
    first, second, *_ = word_windows(np.full(40, 3), 40)
    assert (first.words, second.words) == ((0, 10), (8, 18))
    assert first.kept[1] == second.kept[0] == 9
