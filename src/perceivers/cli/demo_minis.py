"""What `perceivers demo` asks the models that ship with the package, and how the report tells it."""

import json
import shlex
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from perceivers.cli.mini_pictures import Blank, Heard, Panel, as_rgb, clip_rows, panels, sound_gallery, word_bars
from perceivers.cli.pictures import Judged, gallery
from perceivers.cli.report import Picture, code, film, folded, paragraph, section, sounds, table, two_colourings
from perceivers.data import DataConfig, load_data
from perceivers.data.samples import LICENCES, sample, sample_names
from perceivers.processing.flow import read_flow
from perceivers.processing.flow_pictures import end_point_error, flow_picture
from perceivers.processing.image import read_image
from perceivers.processing.sounds import read_sound
from perceivers.tasks.pipeline import pipeline
from perceivers.zoo import read_facts

# What stands around a hidden word in a picture, in characters.
_AROUND = 22
# Pixels of error that are drawn as much.
_MOST_ERROR = 20.0


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What a model answered.

    Args:
        model: Its name.
        answer: What came out, in a few words, for the terminal.
        title: Heading of its section.
        text: What was asked and what came out, in sentences.
        pictures: Pictures of it.
        parts: What else the section shows, as HTML.
        command: What asks the same from the command line.
    """

    model: str
    answer: str
    title: str
    text: str
    pictures: tuple[Picture, ...]
    parts: tuple[str, ...] = ()
    command: str

    def html(self) -> str:
        """Return the section, with the scores of the model's card."""
        facts = read_facts(self.model)
        names = list(facts.scores)
        rows = [
            (who, *(f"{scores[name]:g}" if name in scores else "" for name in names))
            for who, scores in {self.model: facts.scores, **facts.baselines}.items()
        ]
        scores = table((f"on {facts.split}", *names), rows)
        pictures = [picture.html() for picture in self.pictures]
        limits = " ".join(facts.limits)
        return section(
            self.title,
            paragraph(self.text),
            *pictures,
            *self.parts,
            folded("Scores, beside what one would try first", scores + paragraph(limits)),
            code(self.command),
        )


def ask_minis(output: Path) -> list[Shown]:
    """Ask each model that ships with the package about the files that do, which are copied into `output` first."""
    for name in (*sample_names(), LICENCES):
        target = output / "samples" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(sample(name), target)
    asks: list[Callable[[Path], Shown]] = [_ask_images, _ask_words, _ask_flow, _ask_clip, _ask_sounds]
    return [ask(output) for ask in asks]


def _ask_images(output: Path) -> Shown:
    pipe = pipeline("image-classification", "mini")
    paths = _copied(output, "images")
    results = pipe(paths, top_k=1)
    judged = [
        Judged(
            image=read_image(path),
            target=path.stem.rpartition("_")[0],
            prediction=result[0]["label"],
            confidence=result[0]["score"],
        )
        for path, result in zip(paths, results, strict=True)
    ]
    right = sum(one.prediction == one.target for one in judged)
    picture = two_colourings(
        "mini-images",
        "Satellite images with the model's answers",
        900,
        partial(gallery, judged, "", columns=5, side=2.2),
    )
    return Shown(
        model="image-mini",
        answer=f"{right} of {len(judged)} satellite images right",
        title="An image: what is it?",
        text=f"One satellite image of each class, drawn at random from the test split; {right} of {len(judged)} are "
        "named rightly.",
        pictures=(picture,),
        command=f"perceivers predict image-classification {_quoted(paths[0])} --model mini",
    )


def _ask_words(output: Path) -> Shown:
    pipe = pipeline("fill-mask", "mini")
    passages = output / "samples" / "text" / "passages.jsonl"
    rows = [json.loads(line) for line in passages.read_text(encoding="utf-8").splitlines()]
    results = pipe([{"text": row["text"], "hide": row["hide"]} for row in rows])
    blanks = [_blank(row, result) for row, result in zip(rows, results, strict=True)]
    found = sum(blank.truth in dict(blank.candidates) for blank in blanks)
    picture = two_colourings(
        "mini-words", "Candidates for hidden words of books, with their probabilities", 900, partial(word_bars, blanks)
    )
    told = [(row["book"].replace("_", " "), row["text"], row["hide"]) for row in rows]
    first = rows[0]
    return Shown(
        model="text-mini",
        answer=f"{found} of {len(blanks)} hidden words among the best five",
        title="A text: which word is missing?",
        text="Passages of books from parts that the model never saw, each with a word hidden: what it puts there, "
        f"letter by letter. Passages and words were drawn at random. The word itself is among the best five {found} "
        f"times of {len(blanks)}; the others should at least be words that can stand there.",
        pictures=(picture,),
        parts=(folded("The passages", table(("book", "passage", "hidden"), told)),),
        command=f"perceivers predict fill-mask {shlex.quote(first['text'])} --with hide={first['hide']} --model mini",
    )


def _blank(row: Mapping[str, str], result: list[dict[str, Any]]) -> Blank:
    before, after = row["text"].split(row["hide"], 1)
    return Blank(
        before=before[-_AROUND:],
        after=after[:_AROUND],
        truth=row["hide"],
        candidates=[(entry["token_str"], entry["score"]) for entry in result],
    )


def _ask_flow(output: Path) -> Shown:
    pipe = pipeline("optical-flow", "mini")
    folder = output / "samples" / "flow"
    photos, film_frames = ([folder / f"{kind}{i}.jpg" for i in (1, 2)] for kind in ("photo", "film"))
    photo, moving = pipe(*photos), pipe(*film_frames)
    field = read_flow(folder / "photo-motion.png")
    errors = end_point_error(photo.flow, field.flow, field.valid)
    still = float(np.linalg.norm(field.flow, axis=-1).mean())
    longest = float(np.linalg.norm(field.flow, axis=-1).max())
    apart = np.linalg.norm(photo.flow - field.flow, axis=-1)
    rows = [
        [
            Panel(title="first photograph", image=photo.frames[0]),
            Panel(title="true motion", image=as_rgb(flow_picture(field.flow, longest))),
            Panel(title="found motion", image=as_rgb(photo.picture(longest))),
            Panel(title=f"error, mean {errors['epe']:.1f} px", image=apart, top=_MOST_ERROR, unit="pixels"),
        ],
        [
            Panel(title="first frame of a film", image=moving.frames[0]),
            Panel(title="found motion", image=as_rgb(moving.picture())),
            Panel(title="as arrows", image=as_rgb(moving.overlay())),
            Panel(title="second frame, warped back", image=as_rgb(moving.warped())),
        ],
    ]
    picture = two_colourings("mini-flow", "Two pairs of frames and the motion found", 940, partial(panels, rows))
    answers = output / "answers" / "flow"
    answers.mkdir(parents=True, exist_ok=True)
    moving.save_all(answers, "film")
    return Shown(
        model="flow-mini",
        answer=f"{errors['epe']:.1f} px from the true motion, {still:.1f} px where none is assumed",
        title="Two frames: what moved where?",
        text="Above, photographs put together and moved, so that the true motion is known: the model is off by "
        f"{errors['epe']:.1f} pixels in the mean; to say that nothing moves is off by {still:.1f}. Below, two frames "
        "of a film, whose true motion nobody knows; colours tell the direction. It was trained on made-up scenes "
        "and reads both frames at 24x32 pixels, so that edges are soft.",
        pictures=(picture,),
        command=f"perceivers predict optical-flow {_quoted(*film_frames)} --model mini --output flow/",
    )


def _ask_clip(output: Path) -> Shown:
    pipe = pipeline("video-autoencoding", "mini")
    row = load_data(DataConfig(source="clips"), ("video", "label")).eval[0]
    truth = (pipe.task.labels or ())[row["label"]]
    (result,) = pipe.predict([row["video"]], top_k=4)
    folder = output / "answers" / "clip"
    folder.mkdir(parents=True, exist_ok=True)
    result.save(folder, "clip")
    best = result.best_labels[0]
    code_length = pipe.model.config.encoder.num_latents * pipe.model.config.encoder.latent_channels
    numbers = result.video.size + result.audio.size
    picture = two_colourings(
        "mini-clip",
        "The frames and the sound of a clip, and what came back",
        940,
        lambda palette: clip_rows(
            result.video,
            result.video_out,
            (result.audio, result.audio_out),
            len(result.video) / result.frame_rate,
            palette,
        ),
    )
    both = film(
        (folder / "clip.side.mp4").read_bytes(),
        "Left the clip, right what came back, with the sound that came back.",
        512,
    )
    return Shown(
        model="video-mini",
        answer=f"frames {result.video_psnr:.1f} dB, sound {result.audio_psnr:.1f} dB, says {best['label']}",
        title="A clip with sound: can it be told from few numbers?",
        text=f"The first held-out clip: {numbers:,} numbers of pixels and sound go through {code_length} numbers and "
        f"come back, frames at {result.video_psnr:.1f} dB and sound at {result.audio_psnr:.1f} dB. The kind of the "
        f"shape, which the model is not told, comes back too: it says {best['label']} ({best['score']:.1%}), and it is "
        f"a {truth}.",
        pictures=(picture,),
        parts=(both,),
        command="perceivers evaluate video-autoencoding --model mini --data clips",
    )


def _ask_sounds(output: Path) -> Shown:
    pipe = pipeline("audio-classification", "mini")
    paths = _copied(output, "sounds")
    results = pipe(paths, top_k=1)
    rate = pipe.task.settings.sample_rate
    heard = [
        Heard(
            wave=read_sound(path, rate),
            sample_rate=rate,
            prediction=result[0]["label"],
            confidence=result[0]["score"],
            truth=path.name[0],
        )
        for path, result in zip(paths, results, strict=True)
    ]
    right = sum(one.prediction == one.truth for one in heard)
    picture = two_colourings(
        "mini-sounds", "Spectrograms of spoken digits with the model's answers", 900, partial(sound_gallery, heard)
    )
    players = sounds({path.name: path.read_bytes() for path in paths})
    return Shown(
        model="audio-mini",
        answer=f"{right} of {len(heard)} spoken digits right",
        title="A sound: which digit is spoken?",
        text=f"One recording of each digit, drawn at random from the test split; {right} of {len(heard)} are heard "
        "rightly. Time runs to the right, frequency upwards.",
        pictures=(picture,),
        parts=(folded("Listen", players),),
        command=f"perceivers predict audio-classification {_quoted(paths[0])} --model mini",
    )


def _copied(output: Path, kind: str) -> list[Path]:
    return [output / "samples" / name for name in sample_names() if name.startswith(f"{kind}/")]


def _quoted(*paths: Path) -> str:
    return " ".join(shlex.quote(str(path)) for path in paths)
