"""What is where on an image."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from perceivers.web.parts import checked_photo, photo, shown_picture
from perceivers.web.tab import TABS, Tab


@TABS.register("object-detection")
class Boxes(Tab):
    """An image with its objects in boxes."""

    title = "Objects"
    hint = "Give an image, to have the objects on it found."

    def questions(self) -> list[Any]:
        """Make the image."""
        return [photo("Image")]

    def answers(self) -> list[Any]:
        """Make the image with boxes, and the boxes."""
        return [shown_picture("Objects"), gr.JSON(label="Boxes, in pixels")]

    def value(self, *given: Any) -> Any:
        """Return the image's path."""
        return checked_photo(given[0], self.limits)

    def shown(self, value: Any, result: Any, folder: Path) -> Sequence[Any]:
        """Draw the boxes and list them."""
        task = self.served.pipe.task
        return [task.picture(value, result), task.summary(result)]
