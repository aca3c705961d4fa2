"""Questions about texts, and their answers as parts of these texts, in the forms that SQuAD has.

- One row a question, as on the Hub: `question`, `context`, `answers` with the lists `text` and `answer_start`.
- One row a paragraph: `context` and `qas`, a list of `question`, `id` and `answers`, each a `text` with its `start` or
  `answer_start`; or one row an article, with a list of such `paragraphs`, as in the files of the task itself.

Places count characters. A question without answers is one that the text does not answer.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from datasets import Dataset

from perceivers.data.answers import check_answers, read_answers
from perceivers.data.roles import DataError
from perceivers.data.tables import GROUP, ORIGIN

Row = dict[str, Any]


def one_row_a_question(part: Dataset) -> Dataset:
    """Return a table with one row a question, whose origin names it; those of one article are one group.

    Raises:
        DataError: A paragraph has no context or no list of questions.
    """
    nested = {"paragraphs", "qas"} & set(part.column_names)
    if nested:
        return Dataset.from_list([question for row in part for question in _questions(dict(row))])
    if "id" in part.column_names:
        origins = [f"{origin}, question {name!r}" for origin, name in zip(part[ORIGIN], part["id"], strict=True)]
        part = part.remove_columns(ORIGIN).add_column(ORIGIN, origins)
    same = next((name for name in ("title", "context") if name in part.column_names), None)
    return part if same is None or GROUP in part.column_names else part.add_column(GROUP, list(map(str, part[same])))


def _questions(row: Row) -> Iterator[Row]:
    origin = row[ORIGIN]
    for paragraph in row.get("paragraphs") or [row]:
        context, questions = paragraph.get("context"), paragraph.get("qas")
        if not isinstance(context, str) or not isinstance(questions, list):
            raise DataError(f"{origin}: a paragraph must have a context and a list of questions, got {paragraph!r}")
        for number, question in enumerate(questions):
            if not isinstance(question, Mapping) or "question" not in question or "answers" not in question:
                raise DataError(f"{origin}: entry {number} of qas must have a question and answers, got {question!r}")
            name = f"{origin}, question {question.get('id', number)!r}"
            problem = check_answers(question["answers"])
            if problem:
                raise DataError(f"{name}: {problem}")
            pairs = read_answers(question["answers"])
            yield {
                "question": question["question"],
                "context": context,
                "answers": {"text": [text for text, _ in pairs], "answer_start": [start for _, start in pairs]},
                ORIGIN: name,
                GROUP: str(row.get("title") or context),
            }
