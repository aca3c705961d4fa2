"""Short names of well-known data sets of the Hub, with what a run must know of each: GLUE and IMDb."""

from collections.abc import Mapping
from dataclasses import dataclass

GLUE = "glue"


@dataclass(frozen=True, kw_only=True)
class NamedData:
    """A data set of the Hub.

    Args:
        repository: Its name there.
        eval_split: The split that scores are measured on.
        columns: Which column has which role.
        subset: Its configuration.
    """

    repository: str
    eval_split: str
    columns: Mapping[str, str]
    subset: str | None = None


def _glue(subset: str, columns: Mapping[str, str], eval_split: str = "validation") -> NamedData:
    # The labels of GLUE's test splits are not public: all are -1. Its scores are measured on the validation split.
    return NamedData(repository="nyu-mll/glue", subset=subset, eval_split=eval_split, columns=columns)


_SENTENCES = {"text": "sentence1", "text_pair": "sentence2", "label": "label"}

NAMED: dict[str, NamedData] = {
    # The split `unsupervised` has no labels and is not read.
    "imdb": NamedData(repository="stanfordnlp/imdb", eval_split="test", columns={"text": "text", "label": "label"}),
    "glue/cola": _glue("cola", {"text": "sentence", "label": "label"}),
    "glue/sst2": _glue("sst2", {"text": "sentence", "label": "label"}),
    "glue/mrpc": _glue("mrpc", _SENTENCES),
    "glue/qqp": _glue("qqp", {"text": "question1", "text_pair": "question2", "label": "label"}),
    "glue/stsb": _glue("stsb", {"text": "sentence1", "text_pair": "sentence2", "score": "label"}),
    # The other half of the evaluation is the split `validation_mismatched`, of other genres.
    "glue/mnli": _glue(
        "mnli", {"text": "premise", "text_pair": "hypothesis", "label": "label"}, eval_split="validation_matched"
    ),
    "glue/qnli": _glue("qnli", {"text": "question", "text_pair": "sentence", "label": "label"}),
    "glue/rte": _glue("rte", _SENTENCES),
    "glue/wnli": _glue("wnli", _SENTENCES),
}

# Names that stand for several data sets, a task each. As in the paper (table 1), GLUE is without WNLI, whose
# validation split contradicts its training split.
COLLECTIONS: dict[str, tuple[str, ...]] = {
    GLUE: tuple(name for name in NAMED if name.startswith(f"{GLUE}/") and name != "glue/wnli"),
}
