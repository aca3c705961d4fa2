"""A clip with sound, through the latents and back."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from perceivers.data.samples import sample, sample_names
from perceivers.processing.video_pictures import spectrogram_picture
from perceivers.tasks.reconstruction import VideoResult
from perceivers.tasks.video_autoencoding import VideoAutoencoding
from perceivers.web.parts import bars, shown_picture
from perceivers.web.tab import TABS, Tab


@TABS.register("video-autoencoding")
class Clips(Tab):
    """A clip, beside what comes back of it."""

    title = "Clip"
    hint = (
        "Give a video, with or without sound. It is read into a few latents, and frames, sound and label are asked of "
        "them: at the left of the answer the clip as the model read it, at the right what came back, with the sound "
        "that came back."
    )

    def questions(self) -> list[Any]:
        """Make the clip."""
        return [gr.Video(label="Clip", sources=["upload"], height=330, include_audio=True, buttons=["download"])]

    def answers(self) -> list[Any]:
        """Make the player, the numbers, the labels and the sound's picture."""
        player = gr.Video(
            label="Read | came back",
            autoplay=True,
            loop=True,
            height=300,
            buttons=["download"],
            elem_classes="player",
        )
        return [player, gr.Markdown(), gr.HTML(label="Labels"), shown_picture("Sound, as read and as it came back")]

    def value(self, *given: Any) -> Any:
        """Return the clip's path."""
        path = self.limits.check_file(given[0], "clip")
        task = self.served.pipe.task
        assert isinstance(task, VideoAutoencoding)
        self.limits.check_length(task.open(path).seconds, "clip")
        return path

    def shown(self, value: Any, result: VideoResult, folder: Path) -> Sequence[Any]:
        """Show both clips side by side with sound, how like they are, and the labels."""
        result.write_video(folder / "clip.mp4", both=True)
        told = f"frames **{result.video_psnr:.1f} dB**"
        told += f", sound **{result.audio_psnr:.1f} dB**" if result.audio_psnr is not None else ", no sound"
        told += f" (PSNR), {len(result.windows)} window{'s' * (len(result.windows) > 1)}"
        notes = "".join(f"\n- {note}" for note in result.notes)
        heard = None
        if result.has_audio:
            heard = spectrogram_picture(result.audio, result.audio_out, result.sample_rate)
        return [str(folder / "clip.mp4"), told + notes, bars(result.best_labels), heard]

    def examples(self) -> list[list[Any]]:
        """Return a clip of each kind that the shipped model knows."""
        return [[str(sample(name))] for name in sample_names() if name.startswith("clips/")]
