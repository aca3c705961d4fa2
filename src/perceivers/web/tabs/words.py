"""Hidden words of a text."""

import html
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from perceivers.data.samples import sample
from perceivers.processing.text import ByteTokenizer
from perceivers.tasks.filling import read_question
from perceivers.tasks.pipeline import Pipeline
from perceivers.web.parts import bars
from perceivers.web.tab import TABS, Tab

# Gaps whose candidates are shown.
_MOST_GAPS = 6


@TABS.register("fill-mask")
class Words(Tab):
    """A text with gaps, or with a word that is hidden wherever it stands."""

    title = "Words"
    hint = (
        "Write `[MASK:4]` for four hidden bytes (a letter of English is one), or name a word of the text to hide. "
        "The text is read as bytes: no vocabulary, any script."
    )

    def questions(self) -> list[Any]:
        """Make the text and the word."""
        text = gr.Textbox(label="Text", lines=4, max_lines=12, placeholder="It was the [MASK:4] of times.")
        return [text, gr.Textbox(label="Word to hide", placeholder="none: the text has gaps already")]

    def answers(self) -> list[Any]:
        """Make the filled text and the candidates of each gap."""
        return [gr.HTML(label="Filled", elem_classes="filled"), gr.HTML(label="Candidates")]

    def value(self, *given: Any) -> Any:
        """Return the text, with its word to hide."""
        text, word = given
        self.limits.check_text(text)
        value = {"text": text, "hide": word.strip()} if word and word.strip() else text
        read_question(value)
        return value

    def shown(self, value: Any, result: Any, folder: Path) -> Sequence[Any]:
        """Show the text with the best of each gap, and the candidates of the first gaps."""
        runs = result if isinstance(result[0], list) else [result]
        shown = [bars(run, "token_str") for run in runs[:_MOST_GAPS]]
        if len(runs) > 1:
            shown = [f"<h4>gap {i}</h4>{part}" for i, part in enumerate(shown, start=1)]
        return [_filled(value, [run[0]["token_str"] for run in runs]), "".join(shown)]

    def gaze(self, pipe: Pipeline, value: Any) -> list[Image.Image]:
        """Draw where the first hidden byte comes from; for a text of several windows, where all bytes do."""
        pieces = list(pipe.task.pieces(value))
        if len(pieces) > 1:
            return pipe.attention(value)
        places = (pipe.task.collate(pieces)["input_ids"][0] == ByteTokenizer.mask_id).nonzero()[:1, 0]
        return pipe.attention(value, where=places)

    def examples(self) -> list[list[Any]]:
        """Return passages of books with a word to hide."""
        lines = sample("text/passages.jsonl").read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines]
        own = [["a single man in possession of a [MASK:4] fortune", ""]]
        return own + [[row["text"], row["hide"]] for row in rows]


def _filled(value: Any, words: Sequence[str]) -> str:
    """Return the text in HTML with its gaps filled and marked."""
    question, tokenizer = read_question(value), ByteTokenizer()
    parts, start = [], 0
    for (left, right), word in zip(question.spans, words, strict=True):
        parts.append(html.escape(tokenizer.decode(question.ids[start:left])))
        parts.append(f"<mark>{html.escape(word)}</mark>")
        start = right
    parts.append(html.escape(tokenizer.decode(question.ids[start:])))
    return f'<div class="text">{"".join(parts)}</div>'
