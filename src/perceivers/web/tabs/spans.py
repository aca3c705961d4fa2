"""Parts of a text: entities, and answers to questions."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from perceivers.web.parts import bars, shown_picture
from perceivers.web.tab import TABS, Tab


@TABS.register("token-classification")
class Entities(Tab):
    """A text with its entities."""

    title = "Entities"
    hint = "Type a text, to have the names in it marked."

    def questions(self) -> list[Any]:
        """Make the text."""
        return [gr.Textbox(label="Text", lines=5, max_lines=15)]

    def answers(self) -> list[Any]:
        """Make the marked text and the entities."""
        return [shown_picture("Marked"), gr.JSON(label="Entities")]

    def value(self, *given: Any) -> Any:
        """Return the text."""
        return self.limits.check_text(given[0])

    def shown(self, value: Any, result: Any, folder: Path) -> Sequence[Any]:
        """Mark the entities and list them."""
        task = self.served.pipe.task
        return [task.picture(value, result), task.summary(result)]


@TABS.register("question-answering")
class Questions(Tab):
    """A question, and a text that answers it."""

    title = "Question"
    hint = "Give a text of any length and ask something that a part of it answers."

    def questions(self) -> list[Any]:
        """Make the question and the text."""
        return [gr.Textbox(label="Question"), gr.Textbox(label="Text", lines=8, max_lines=20)]

    def answers(self) -> list[Any]:
        """Make the answers and the text with the best marked."""
        return [gr.HTML(label="Answers"), shown_picture("In the text")]

    def value(self, *given: Any) -> Any:
        """Return question and text."""
        question, context = given
        self.limits.check_text(question, "question")
        return {"question": question, "context": self.limits.check_text(context)}

    def shown(self, value: Any, result: Any, folder: Path) -> Sequence[Any]:
        """Show the best answers."""
        answers = result if isinstance(result, list) else [result]
        return [bars(answers, "answer"), self.served.pipe.task.picture(value, result)]
