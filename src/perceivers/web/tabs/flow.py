"""The motion between two frames."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from perceivers.data.samples import sample
from perceivers.tasks.flow_result import FlowResult
from perceivers.web.parts import checked_photo, photo
from perceivers.web.tab import TABS, Tab

# What is laid over the first frame, by the name of its sub-tab.
_OVERLAYS = ("Colours", "Arrows", "Warped back")


@TABS.register("optical-flow")
class Flow(Tab):
    """Two frames, with the motion laid over the first."""

    title = "Motion"
    hint = (
        "Give two frames of a film, or two photographs of one scene. Move the slider over the first frame: colours say "
        "in which direction each pixel moves and how far; *warped back* is the second frame brought back by the "
        "motion, which should look like the first."
    )

    def questions(self) -> list[Any]:
        """Make the frames."""
        with gr.Row():
            return [photo("First frame"), photo("Second frame")]

    def answers(self) -> list[Any]:
        """Make a slider for each overlay, what the motion is in numbers, and its files."""
        sliders = []
        with gr.Tabs():
            for name in _OVERLAYS:
                with gr.Tab(name):
                    label = f"First frame and {name.lower()}"
                    sliders.append(gr.ImageSlider(label=label, show_label=False, interactive=False, format="png"))
        return [*sliders, gr.Markdown(), gr.File(label="Files", file_count="multiple", interactive=False)]

    def value(self, *given: Any) -> Any:
        """Return the paths of both frames."""
        return tuple(
            checked_photo(path, self.limits, what)
            for path, what in zip(given, ("first frame", "second frame"), strict=True)
        )

    def shown(self, value: Any, result: FlowResult, folder: Path) -> Sequence[Any]:
        """Show the overlays and write the motion in its three formats."""
        first = Image.fromarray(result.frames[0].squeeze()).convert("RGB")
        overlays = (result.picture(), result.overlay(), result.warped())
        facts = result.summary()
        files = [folder / f"motion{ending}" for ending in (".flo", ".npy")]
        for file in files:
            result.save(file)
        told = (
            f"mean motion **{facts['mean_motion']:.1f}** pixels, largest **{facts['max_motion']:.1f}**; read in "
            f"{facts['tiles']} tile{'s' * (facts['tiles'] > 1)} of the model's size"
        )
        return [*((first, overlay) for overlay in overlays), told, [str(file) for file in files]]

    def examples(self) -> list[list[Any]]:
        """Return frames of a film, and photographs that were moved."""
        return [[str(sample(f"flow/{kind}{i}.jpg")) for i in (1, 2)] for kind in ("film", "photo")]
