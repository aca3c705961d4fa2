"""What an image shows."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from perceivers.data.samples import sample, sample_names
from perceivers.web.parts import bars, checked_photo, photo
from perceivers.web.tab import TABS, Tab


@TABS.register("image-classification")
class Images(Tab):
    """An image, from a file, the camera or the clipboard."""

    title = "Image"
    hint = "Give an image. Below the answer: where in it the answer comes from, followed back through all layers."

    def questions(self) -> list[Any]:
        """Make the image."""
        return [photo("Image")]

    def answers(self) -> list[Any]:
        """Make the labels."""
        return [gr.HTML(label="Labels")]

    def value(self, *given: Any) -> Any:
        """Return the image's path."""
        return checked_photo(given[0], self.limits)

    def shown(self, value: Any, result: Any, folder: Path) -> Sequence[Any]:
        """Show the best labels."""
        return [bars(result)]

    def examples(self) -> list[list[Any]]:
        """Return an image of each class that the shipped model knows."""
        return [[str(sample(name))] for name in sample_names() if name.startswith("images/")]
