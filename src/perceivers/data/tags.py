"""Words and their tags: files of columns, and what tags may be.

Tags are BIO: `O` outside of an entity, `B-type` for its first word, `I-type` for those after it.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

OUTSIDE = "O"
CONLL_SUFFIXES = (".conll", ".bio", ".iob")
_TAG = re.compile(r"O|[BI]-\S+")
_DOCUMENT = "-DOCSTART-"

# Type, first word and the word after the last of an entity.
Entity = tuple[str, int, int]


def check_tag(tag: object) -> str | None:
    """Return what is wrong with a tag, or `None`."""
    if isinstance(tag, str) and _TAG.fullmatch(tag):
        return None
    return f"tag {tag!r} must be O, B-<type> or I-<type>"


def tag_names(tags: Sequence[object]) -> tuple[str, ...]:
    """Return the tags that data with these `tags` may have: `O`, then `B-` and `I-` of each type, sorted.

    Raises:
        ValueError: A tag has another form, or there is no entity.
    """
    for problem in map(check_tag, tags):
        if problem:
            raise ValueError(problem)
    types = sorted({str(tag)[2:] for tag in tags if tag != OUTSIDE})
    if not types:
        raise ValueError(f"the tags {list(map(str, set(tags)))} have no entity; at least one type is needed")
    return (OUTSIDE, *(f"{place}-{name}" for name in types for place in "BI"))


def find_entities(tags: Sequence[str]) -> list[Entity]:
    """Return the entities of a sentence, in their order.

    Any sequence of tags has entities, as in the scripts of the CoNLL shared tasks: an `I-type` that does not go on
    from an entity of its type begins one.
    """
    found: list[Entity] = []
    before = OUTSIDE
    for i, tag in enumerate(tags):
        if tag != OUTSIDE:
            if tag[0] == "I" and before[2:] == tag[2:]:
                name, first, _ = found.pop()
                found.append((name, first, i + 1))
            else:
                found.append((tag[2:], i, i + 1))
        before = tag
    return found


def read_sentences(path: Path, text: str) -> Iterator[tuple[int, list[str], list[str]]]:
    """Yield first line, words and tags of each sentence of a file of columns.

    A line holds a word and, last of its columns, a tag; columns are separated by tabs or spaces, sentences by empty
    lines. Lines that begin with `-DOCSTART-` are marks between documents, and skipped.

    Args:
        path: The file's name, for messages.
        text: What it holds.

    Raises:
        ValueError: A line has one column only.
    """
    first, words, tags = 1, list[str](), list[str]()
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip() and not line.startswith(_DOCUMENT):
            columns = line.split("\t") if "\t" in line else line.split(" ")
            columns = [column.strip() for column in columns if column.strip()]
            if len(columns) < 2:
                raise ValueError(f"{path}, line {number}: a word and a tag must stand there, got {line!r}")
            first = first if words else number
            words.append(columns[0])
            tags.append(columns[-1])
        elif words:
            yield first, words, tags
            words, tags = [], []
    if words:
        yield first, words, tags
