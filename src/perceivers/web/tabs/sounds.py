"""What a sound is."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from perceivers.data.samples import sample, sample_names
from perceivers.processing.sounds import sound_seconds
from perceivers.web.parts import bars, sound
from perceivers.web.tab import TABS, Tab


@TABS.register("audio-classification")
class Sounds(Tab):
    """A sound, from a file or the microphone."""

    title = "Sound"
    hint = "Record a sound or give a file. Below the answer: where in the sound the answer comes from."

    def questions(self) -> list[Any]:
        """Make the sound."""
        return [sound("Sound")]

    def answers(self) -> list[Any]:
        """Make the labels."""
        return [gr.HTML(label="Labels")]

    def value(self, *given: Any) -> Any:
        """Return the sound's path."""
        path = self.limits.check_file(given[0], "sound")
        self.limits.check_length(sound_seconds(path), "sound")
        return path

    def shown(self, value: Any, result: Any, folder: Path) -> Sequence[Any]:
        """Show the best labels."""
        return [bars(result)]

    def examples(self) -> list[list[Any]]:
        """Return a recording of each digit."""
        return [[str(sample(name))] for name in sample_names() if name.startswith("sounds/")]
