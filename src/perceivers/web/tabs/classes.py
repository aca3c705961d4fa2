"""What kind of text a text is."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from perceivers.web.parts import bars
from perceivers.web.tab import TABS, Tab


@TABS.register("text-classification")
class Classes(Tab):
    """A text and its labels."""

    title = "Text"
    hint = "Type a text. Below the answer: which of its bytes the answer comes from."

    def questions(self) -> list[Any]:
        """Make the text."""
        return [gr.Textbox(label="Text", lines=5, max_lines=15)]

    def answers(self) -> list[Any]:
        """Make the labels."""
        return [gr.HTML(label="Labels")]

    def value(self, *given: Any) -> Any:
        """Return the text."""
        return self.limits.check_text(given[0])

    def shown(self, value: Any, result: Any, folder: Path) -> Sequence[Any]:
        """Show the best labels."""
        return [bars(result)]
