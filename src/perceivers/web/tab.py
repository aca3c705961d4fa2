"""What all tabs have in common: questions at the left, answers at the right, where the model looks below."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import gradio as gr
from PIL import Image

from perceivers.registry import Registry
from perceivers.tasks.drawing import below
from perceivers.tasks.pipeline import Pipeline
from perceivers.web.limits import Limits
from perceivers.web.parts import shown_picture
from perceivers.web.served import Served

# Windows, or tiles, whose attention is drawn.
_MOST_PICTURES = 6


class Tab(ABC):
    """A tab of the page, for one model. One file a tab; it registers itself under the name of its task.

    Args:
        served: The model.
        limits: What is refused.
    """

    title: ClassVar[str]
    hint: ClassVar[str]  # in Markdown: what to do here

    def __init__(self, served: Served, limits: Limits) -> None:
        self.served = served
        self.limits = limits
        self._folder = TemporaryDirectory()

    @abstractmethod
    def questions(self) -> list[Any]:
        """Make the components that are asked with."""

    @abstractmethod
    def answers(self) -> list[Any]:
        """Make the components that answer."""

    @abstractmethod
    def value(self, *given: Any) -> Any:
        """Return what the components hold as an input of the task.

        Raises:
            ValueError: Something is missing, too large, or cannot be read.
        """

    @abstractmethod
    def shown(self, value: Any, result: Any, folder: Path) -> Sequence[Any]:
        """Return what the answering components show.

        Args:
            value: The input.
            result: What the pipeline answers.
            folder: Takes files that are shown; it is gone when the next answer comes.
        """

    def examples(self) -> list[list[Any]]:
        """Return what the asking components hold in each of the examples."""
        return []

    def gaze(self, pipe: Pipeline, value: Any) -> list[Image.Image]:
        """Draw where the answer comes from."""
        return pipe.attention(value)

    def build(self, api_name: str) -> None:
        """Make the tab, inside the page.

        Args:
            api_name: What its question is called by programs.
        """
        gr.Markdown(self.hint)
        with gr.Row(equal_height=False):
            with gr.Column():
                questions = self.questions()
                ask = gr.Button("Ask", variant="primary", elem_classes="ask")
                examples = self.examples()
                if examples:
                    gr.Examples(examples, questions, examples_per_page=12)
            with gr.Column():
                answers = self.answers()
                card = gr.Markdown(elem_classes="card")
                gaze = shown_picture("Where it looks", "gaze")
        # All that a model is asked waits in one line.
        line = f"{self.served.name} {id(self.served)}"
        asked = ask.click(
            _told(self._ask), questions, [*answers, card], api_name=api_name, concurrency_limit=1, concurrency_id=line
        )
        asked.success(
            _told(self._gaze),
            questions,
            gaze,
            api_name=f"{api_name}-attention",
            concurrency_limit=1,
            concurrency_id=line,
        )

    def _ask(self, *given: Any) -> list[Any]:
        value = self.value(*given)
        timed = self.served.take(lambda pipe: pipe.predict([value])[0])
        # One question waits for the other, so that Gradio has its own copy of what the last one showed.
        self._folder.cleanup()
        self._folder = TemporaryDirectory()
        return [*self.shown(value, timed.answer, Path(self._folder.name)), self.served.card(timed.seconds)]

    def _gaze(self, *given: Any) -> Image.Image:
        value = self.value(*given)
        pictures = self.served.take(lambda pipe: self.gaze(pipe, value)).answer
        return below(pictures[:_MOST_PICTURES])


TABS: Registry[type[Tab]] = Registry("tab")


def _told(work: Callable[..., Any]) -> Callable[..., Any]:
    """Let `work` tell what is wrong with its input in a box on the page; other errors are told as such, no more."""

    def attempt(*given: Any) -> Any:
        try:
            return work(*given)
        except (ValueError, OSError) as error:
            raise gr.Error(_without_folders(str(error), given), duration=None, print_exception=False) from error

    return attempt


def _without_folders(message: str, given: Sequence[Any]) -> str:
    """Name uploaded files as they were called, without where they were put."""
    for value in given:
        if isinstance(value, str) and Path(value).is_absolute():
            message = message.replace(value, Path(value).name)
    return message
