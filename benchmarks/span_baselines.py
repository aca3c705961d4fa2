"""Score simple models on tasks whose answers are parts of a text: the baselines of the README.

python benchmarks/span_baselines.py entities path/to/wnut17
python benchmarks/span_baselines.py answers path/to/squad
"""

import re
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.feature_extraction import DictVectorizer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from perceivers.data import DataConfig, load_data
from perceivers.data.answers import read_answers
from perceivers.data.tags import OUTSIDE
from perceivers.tasks.scores.answers import AnswerScore
from perceivers.tasks.scores.entities import EntityScore

Sentences = list[list[str]]


def read_tagged(source: str, split: str) -> tuple[Sentences, Sentences]:
    """Return the words and the tags of a split."""
    splits = load_data(DataConfig(source=source, eval_split=split), ("tokens", "tags"))
    names = list(splits.labels or ())
    rows: list[Any] = list(splits.eval)
    return [row["tokens"] for row in rows], [[names[tag] for tag in row["tags"]] for row in rows]


def report_entities(name: str, found: Sentences, true: Sentences, seconds: float) -> None:
    """Print the scores of found entities and of single words."""
    scores = []
    for alpha in (0.5, 1.0, 0.0):
        score = EntityScore(alpha)
        score.update(found, true)
        scores.append(float(score.compute()))
    pairs = [pair for ours, theirs in zip(found, true, strict=True) for pair in zip(ours, theirs, strict=True)]
    right = sum(ours == theirs for ours, theirs in pairs) / len(pairs)
    f1, precision, recall = scores
    print(
        f"{name:45} F1 {f1:.4f}  precision {precision:.4f}  recall {recall:.4f}  accuracy {right:.4f}  {seconds:.0f} s",
        flush=True,
    )


def entity_baselines(source: str) -> None:
    """The usual tag of each word, and logistic regression on words, letters and neighbours."""
    words, tags = read_tagged(source, "train")
    for split in ("dev", "test"):
        unseen, true = read_tagged(source, split)
        began = time.perf_counter()
        report_entities(
            f"usual tag of a word, {split}", usual_tags(words, tags, unseen), true, time.perf_counter() - began
        )
    began = time.perf_counter()
    model = make_pipeline(DictVectorizer(), LogisticRegression(C=10, max_iter=1000))
    model.fit(
        [features for sentence in words for features in word_features(sentence)],
        [tag for names in tags for tag in names],
    )
    for split in ("dev", "test"):
        unseen, true = read_tagged(source, split)
        flat = iter(model.predict([features for sentence in unseen for features in word_features(sentence)]).tolist())
        found = [[next(flat) for _ in sentence] for sentence in unseen]
        report_entities(f"logistic regression, {split}", found, true, time.perf_counter() - began)


def usual_tags(words: Sentences, tags: Sentences, unseen: Sentences) -> Sentences:
    """Return for each word the tag that it mostly had, `O` for words that were never seen."""
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for sentence, names in zip(words, tags, strict=True):
        for word, tag in zip(sentence, names, strict=True):
            counts[word][tag] += 1
    usual = {word: counter.most_common(1)[0][0] for word, counter in counts.items()}
    return [[usual.get(word, OUTSIDE) for word in sentence] for sentence in unseen]


def word_features(sentence: Sequence[str]) -> Iterator[dict[str, float]]:
    """Yield what is looked at of each word: itself, its ends and its shape, and those of its two neighbours."""
    for i in range(len(sentence)):
        features: dict[str, float] = {}
        for distance in (-2, -1, 0, 1, 2):
            place = i + distance
            word = sentence[place] if 0 <= place < len(sentence) else ("<start>" if place < 0 else "<end>")
            features[f"{distance} word {word.lower()}"] = 1
            if abs(distance) < 2:
                features |= {f"{distance} begins {word[:n]}": 1 for n in (1, 2, 3)}
                features |= {f"{distance} ends {word[-n:]}": 1 for n in (1, 2, 3)}
                features[f"{distance} shape {shape(word)}"] = 1
        yield features


def shape(word: str) -> str:
    """Return a word with each run of capitals, small letters and digits as one sign: "McDonald2" is "XxXx0"."""
    signs = ["X" if c.isupper() else "x" if c.islower() else "0" if c.isdigit() else c for c in word]
    return "".join(sign for sign, before in zip(signs, ["", *signs], strict=False) if sign != before)


def answer_baselines(source: str) -> None:
    """The sentence that shares most words with the question, and the words that stand nearest to shared ones."""
    splits = load_data(DataConfig(source=source), ("question", "context", "answers"))
    print(splits.description)
    rows: list[Any] = list(splits.eval)
    contexts = sorted({row["context"] for row in rows})
    inverse = TfidfVectorizer(token_pattern=_WORD.pattern).fit(
        [sentence for c in contexts for sentence in sentences(c)]
    )
    weights = dict(zip(inverse.get_feature_names_out(), inverse.idf_.tolist(), strict=True))
    for name, answer in {"all of its context": whole, "the likeliest sentence": sentence_like, **_NEAREST}.items():
        began = time.perf_counter()
        found = [answer(row["question"], row["context"], weights) for row in rows]
        scores = []
        for score in (AnswerScore("f1"), AnswerScore("exact_match")):
            score.update(found, [[text for text, _ in read_answers(row["answers"])] for row in rows])
            scores.append(float(score.compute()))
        seconds = time.perf_counter() - began
        print(f"{name:45} F1 {scores[0]:.4f}  exact match {scores[1]:.4f}  {seconds:.0f} s", flush=True)


def sentences(text: str) -> list[str]:
    """Cut a text into sentences."""
    return [part for part in re.split(r"(?<=[.!?]) +", text) if part.strip()]


def whole(question: str, context: str, weights: Mapping[str, float]) -> str:
    """Answer with everything."""
    return context


def sentence_like(question: str, context: str, weights: Mapping[str, float]) -> str:
    """Answer with the sentence whose shared words weigh most."""
    asked = set(_WORD.findall(question.lower()))

    def shared(sentence: str) -> float:
        return sum(weights.get(word, 1.0) for word in asked & set(_WORD.findall(sentence.lower())))

    return max(sentences(context), key=shared)


def nearest(length: int) -> Callable[[str, str, Mapping[str, float]], str]:
    """Return a way to answer with so many words that are not in the question, near to many that are."""

    def answer(question: str, context: str, weights: Mapping[str, float]) -> str:
        sentence = sentence_like(question, context, weights)
        asked = set(_WORD.findall(question.lower()))
        words = list(_WORD.finditer(sentence))
        weight = np.array([weights.get(w.group().lower(), 1.0) * (w.group().lower() in asked) for w in words])
        distance = np.abs(np.arange(len(words))[:, None] - np.arange(len(words))[None])
        near = (weight[None] / (1 + distance)).sum(axis=1) - 10 * (weight > 0)
        best = max(range(max(len(words) - length + 1, 1)), key=lambda i: near[i : i + length].sum())
        last = min(best + length, len(words)) - 1
        return sentence[words[best].start() : words[last].end()]

    return answer


_WORD = re.compile(r"\w+")
_NEAREST = {f"{length} words near to shared ones": nearest(length) for length in (1, 2, 3, 5)}


if __name__ == "__main__":
    kinds = {"entities": entity_baselines, "answers": answer_baselines}
    if len(sys.argv) != 3 or sys.argv[1] not in kinds:
        sys.exit(f"usage: python {sys.argv[0]} {{{'|'.join(kinds)}}} path/to/data")
    kinds[sys.argv[1]](sys.argv[2])
