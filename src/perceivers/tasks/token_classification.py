"""Token classification, such as named entities: bytes in, a tag for each word out."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.nn import functional

from perceivers.adapters.label import LabelOutputConfig
from perceivers.adapters.text import TextInputConfig, TextNeighboursQueryConfig, TextQueryConfig
from perceivers.data.tags import OUTSIDE, check_tag, find_entities
from perceivers.model import PerceiverConfig, PerceiverIO
from perceivers.processing.span_pictures import Mark, marks_on_text
from perceivers.processing.text import ByteTokenizer
from perceivers.processing.words import Words, find_words, join_words, word_windows
from perceivers.tasks.base import TASKS, Metrics, Part, Result, Rows, Step, Task, to_device
from perceivers.tasks.masking import random_mask
from perceivers.tasks.texts import asking_at_bytes, draw_text_weights

if TYPE_CHECKING:
    from typing_extensions import Self

_IGNORE = -100
_PREDICT_BATCH_SIZE = 32


@dataclass(frozen=True, kw_only=True)
class TokenClassificationSettings:
    """Settings of token classification.

    Args:
        labels: Tags, in the order of the outputs: `O`, `B-type`, `I-type`.
        byte_dropout: Share of bytes replaced by the mask while training.
        outside_weight: How much a word outside of all entities counts in the loss of training; one in an entity
            counts 1. Less than 1 finds more entities, right and wrong ones.
        label_smoothing: Share of the target spread over all tags while training.
    """

    labels: tuple[str, ...] = ()
    byte_dropout: float = 0.0
    outside_weight: float = 1.0
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.byte_dropout < 1:
            raise ValueError(f"byte_dropout ({self.byte_dropout}) must be at least 0 and less than 1")
        if self.outside_weight <= 0:
            raise ValueError(f"outside_weight ({self.outside_weight}) must be greater than 0")


@TASKS.register("token-classification")
class TokenClassification(Task[TokenClassificationSettings]):
    """A tag for each word; only the first byte of each is asked.

    The model reads the words of a sentence joined by spaces. Sentences that are longer than it reads are read by
    windows that overlap; each word is answered by the window in which it has the more words around it. Of a word that
    is longer than the model reads, the first bytes are read.
    """

    Settings = TokenClassificationSettings
    roles: ClassVar[tuple[str, ...]] = ("tokens", "tags")
    input_role = "text"
    default_model = "token-classifier-small"
    score = "f1"

    def __init__(self, settings: TokenClassificationSettings, config: PerceiverConfig) -> None:
        super().__init__(settings, config)
        if not isinstance(config.inputs, TextInputConfig):
            raise ValueError(f"token-classification needs a model with text inputs, not '{config.inputs.kind}'")
        if not isinstance(config.queries, TextQueryConfig | TextNeighboursQueryConfig):
            raise ValueError(f"token-classification needs a query for each byte, not '{config.queries.kind}' queries")
        self.max_length = config.inputs.max_length
        self.tokenizer = ByteTokenizer()

    @classmethod
    def fit(cls, config: PerceiverConfig, labels: Sequence[str] | None, settings: Mapping[str, Any]) -> "Self":
        """Give the model one output a tag; see `Task.fit`.

        Raises:
            ValueError: There are no tags, one of another form or none outside of entities, or the model does not
                answer with labels.
        """
        problems = [problem for problem in map(check_tag, labels or ()) if problem]
        if problems:
            raise ValueError(problems[0])
        if not labels or OUTSIDE not in labels or len(labels) < 2:
            raise ValueError(f"{cls.name} needs the tags 'O' and B-<type>; the data has {list(labels or ())}")
        if not isinstance(config.outputs, LabelOutputConfig):
            raise ValueError(f"{cls.name} needs a model with 'label' outputs, not '{config.outputs.kind}'")
        outputs = dataclasses.replace(config.outputs, num_classes=len(labels))
        return super().fit(dataclasses.replace(config, outputs=outputs), labels, {**settings, "labels": list(labels)})

    @classmethod
    def usual_model(cls, config: PerceiverConfig) -> PerceiverConfig:
        """Return the model that asks at bytes, as many as `config` reads; see `Task.usual_model`."""
        return asking_at_bytes(super().usual_model(config), config)

    @classmethod
    def example(cls) -> "tuple[Self, Rows]":
        """Return a tiny task on three sentences."""
        from perceivers.zoo import ZOO

        tags = ("O", "B-person", "I-person", "B-place", "I-place")
        rows = [
            {"tokens": ["Ada", "Lovelace", "went", "to", "Paris", "."], "tags": [1, 2, 0, 0, 3, 0]},
            {"tokens": ["l'été", "à", "New", "York"], "tags": [0, 0, 3, 4]},
            {"tokens": ["nothing", "here"], "tags": [0, 0]},
        ]
        return cls.fit(ZOO[cls.default_model].config, tags, {}), rows

    @property
    def labels(self) -> tuple[str, ...]:
        """The tags."""
        return self.settings.labels

    def input_of(self, row: Mapping[str, Any]) -> Any:
        """Return the row's words, as a mapping: a list would be several texts."""
        return {"tokens": row["tokens"]}

    def row_of(self, value: Any) -> Mapping[str, Any]:
        """Return an input as a row of data; a mapping with `tokens` or `text` is that already."""
        return value if isinstance(value, Mapping) else {self.input_role: value}

    def prepare(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Cut a sentence into windows.

        Returns:
            For each window `input_ids` (M,) and `where` (K,), the first bytes of the words that it answers; for the
            whole sentence, when known, `target`, the id of each word's tag.

        Raises:
            ValueError: There are no words, or not one tag for each.
        """
        data = [word.encode("utf-8") for word in words_of(row).strings()]
        windows = word_windows(np.array([len(word) for word in data]), self.max_length)
        item: dict[str, Any] = {"input_ids": [], "where": []}
        for window in windows:
            read = data[slice(*window.words)]
            starts = np.cumsum([0, *(len(word) + 1 for word in read[:-1])])
            ids = np.frombuffer(b" ".join(read), dtype=np.uint8).astype(np.int64) + self.tokenizer.num_special
            first = window.words[0]
            item["input_ids"].append(ids[: self.max_length])
            item["where"].append(starts[window.kept[0] - first : window.kept[1] - first])
        if row.get("tags") is not None:
            if len(row["tags"]) != len(data):
                raise ValueError(f"{len(row['tags'])} tags for {len(data)} words {row['tokens']}")
            item["target"] = np.asarray(row["tags"], dtype=np.int64)
        return item

    def collate(self, items: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Put the windows of all sentences into one batch.

        Returns:
            `input_ids` and `keep_mask` (R, M) of R windows; `where` (R, K), filled up with the first byte where a
            window answers fewer words, and `asked` (R, K), which are none of these; for the words in their order
            `sentence` (W,), the number of each one's sentence, and, when known, `target` (W,).
        """
        input_ids, keep_mask = self.tokenizer.pad([ids for item in items for ids in item["input_ids"]])
        wanted = [places for item in items for places in item["where"]]
        width = max(len(places) for places in wanted)
        counts = [sum(map(len, item["where"])) for item in items]
        batch = {
            "input_ids": torch.from_numpy(input_ids),
            "keep_mask": torch.from_numpy(keep_mask),
            "where": torch.from_numpy(np.stack([np.pad(places, (0, width - len(places))) for places in wanted])),
            "asked": torch.arange(width) < torch.tensor([len(places) for places in wanted])[:, None],
            "sentence": torch.repeat_interleave(torch.arange(len(items)), torch.tensor(counts)),
        }
        if "target" in items[0]:
            batch["target"] = torch.from_numpy(np.concatenate([item["target"] for item in items]))
        return batch

    def augment(self, batch: dict[str, Tensor], *, training: bool) -> dict[str, Tensor]:
        """Hide a share of the bytes while training."""
        if not training or not self.settings.byte_dropout:
            return batch
        hidden = random_mask(batch["keep_mask"], self.settings.byte_dropout)
        return {**batch, "input_ids": batch["input_ids"].masked_fill(hidden, self.tokenizer.mask_id)}

    def step(self, model: PerceiverIO, batch: Mapping[str, Tensor]) -> Step:
        """Return the cross-entropy over words; weight and smoothing count while training only."""
        logits = self._scores(model, batch)
        weights = torch.ones(len(self.labels), device=logits.device)
        if model.training:
            weights[self.labels.index(OUTSIDE)] = self.settings.outside_weight
        smoothing = self.settings.label_smoothing if model.training else 0.0
        loss = functional.cross_entropy(logits, batch["target"], weights, label_smoothing=smoothing)
        targets = {"tags": batch["target"], "sentence": batch["sentence"]}
        return Step(loss, logits, targets, (Part(loss, weights[batch["target"]].sum()),))

    def metrics(self) -> Metrics:
        """Return F1, precision and recall of whole entities, and the share of words whose tag is right."""
        from torchmetrics import MeanMetric, Metric, MetricCollection

        from perceivers.tasks.scores.entities import EntityScore

        entities = {"f1": EntityScore(0.5), "precision": EntityScore(1.0), "recall": EntityScore(0.0)}
        metrics: dict[str, Metric | MetricCollection] = {**entities, "accuracy": MeanMetric()}
        return MetricCollection(metrics, compute_groups=False)

    def update(self, metrics: Metrics, step: Step) -> None:
        """Count one batch."""
        found, true = step.outputs.argmax(dim=-1), step.targets["tags"]
        metrics["accuracy"].update((found == true).float())
        lengths = torch.bincount(step.targets["sentence"]).tolist()
        ours, theirs = ([self._names(part) for part in ids.split(lengths)] for ids in (found, true))
        for name in ("f1", "precision", "recall"):
            metrics[name].update(ours, theirs)

    def pieces(self, value: Any) -> Iterator[dict[str, Any]]:
        """Cut a text into windows."""
        item = self.prepare(self.row_of(value))
        for ids, where in zip(item["input_ids"], item["where"], strict=True):
            yield {"input_ids": [ids], "where": [where]}

    @torch.inference_mode()
    def predict(self, model: PerceiverIO, inputs: Sequence[Any], *, top_k: int = 5) -> list[Result]:
        """Find entities; `top_k` means nothing here.

        Args:
            model: The model.
            inputs: Texts; or lists of words, which are joined by spaces, or mappings with such as `tokens`.
            top_k: As said.

        Returns:
            For each text its entities, in their order: `entity_group`, the type; `score`, the mean probability of its
            words' tags; `word`, its text; `start` and `end`, its characters in the text. A word with `I-type` that
            does not go on from an entity of this type begins one.

        Raises:
            ValueError: A text has no words.
        """
        texts = [words_of(self.row_of(value)) for value in inputs]
        pieces = [piece for value in inputs for piece in self.pieces(value)]
        scores: list[Tensor] = []
        for start in range(0, len(pieces), _PREDICT_BATCH_SIZE):
            batch = to_device(self.collate(pieces[start : start + _PREDICT_BATCH_SIZE]), model)
            scores.append(self._scores(model, batch).double().softmax(dim=-1).cpu())
        answers = torch.cat(scores).split([len(text) for text in texts]) if texts else ()
        return [self._present(text, rows) for text, rows in zip(texts, answers, strict=True)]

    def picture(self, value: Any, result: Result) -> Image.Image:
        """Draw the text with its entities on colours."""
        types = list(dict.fromkeys(label[2:] for label in self.labels if label != OUTSIDE))
        marks = [Mark(entry["start"], entry["end"], entry["entity_group"]) for entry in result]
        return marks_on_text(words_of(self.row_of(value)).text, marks, types)

    def draw_weights(self, item: Mapping[str, Any], weights: Mapping[str, np.ndarray]) -> Image.Image:
        """Colour the window's bytes."""
        return draw_text_weights({"input_ids": item["input_ids"][0]}, weights[self.input_role])

    def _scores(self, model: PerceiverIO, batch: Mapping[str, Tensor]) -> Float[Tensor, "W E"]:
        """Return the logits of all words, in their order."""
        return model(batch, where=batch["where"])[batch["asked"]]

    def _names(self, ids: Tensor) -> list[str]:
        return [self.labels[i] for i in ids.tolist()]

    def _present(self, words: Words, probabilities: Float[Tensor, "W E"]) -> Result:
        best = probabilities.max(dim=-1)
        entities = []
        for name, first, stop in find_entities(self._names(best.indices)):
            start, end = words.spans[first][0], words.spans[stop - 1][1]
            entities.append(
                {
                    "entity_group": name,
                    "score": float(best.values[first:stop].mean()),
                    "word": words.text[start:end],
                    "start": start,
                    "end": end,
                }
            )
        return entities


def words_of(value: Any) -> Words:
    """Return the words of a text, of a list of words, or of a row with either under `tokens` or `text`.

    Raises:
        ValueError: There are none, or a word is empty or no string.
    """
    if isinstance(value, Mapping):
        return words_of(value["tokens"] if "tokens" in value else value["text"])
    if isinstance(value, str):
        words = find_words(value)
    elif isinstance(value, Sequence) and all(isinstance(word, str) and word.strip() for word in value):
        words = join_words(value)
    else:
        raise ValueError(f"token-classification reads a text or a list of words that are not empty, got {value!r}")
    if not len(words):
        raise ValueError(f"the text {value!r} has no words; at least one is needed")
    return words
