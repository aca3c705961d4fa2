"""The files that the documentation speaks of: each is made, small and real, when a block names it."""

import json
import re
import shutil
from collections.abc import Callable, Iterable
from itertools import product
from pathlib import Path

import numpy as np
from PIL import Image

import perceivers
from cli_examples import write_csv
from perceivers.data.samples import sample_names
from perceivers.processing.flow import write_flow
from perceivers.processing.video_writing import write_video

Maker = Callable[[Path], None]

_PASSAGES = Path(perceivers.sample("text/passages.jsonl"))
_SPLITS = ("train", "test")


def _samples(kind: str) -> list[Path]:
    return [Path(perceivers.sample(name)) for name in sample_names() if name.startswith(f"{kind}/")]


def passage(number: int) -> str:
    """Return one of the passages that ship with the package."""
    lines = _PASSAGES.read_text(encoding="utf-8").splitlines()
    return json.loads(lines[number % len(lines)])["text"]


def photo(path: Path) -> None:
    shutil.copy(_samples("images")[0], path)


def photos(folder: Path) -> None:
    folder.mkdir(parents=True)
    for source in _samples("images")[:4]:
        shutil.copy(source, folder)


def image_classes(folder: Path) -> None:
    """Two classes in each split, of the satellite images."""
    for split, (label, source) in product(_SPLITS, enumerate(_samples("images")[:2])):
        part = folder / split / source.stem.partition("_")[0]
        part.mkdir(parents=True)
        with Image.open(source) as image:
            for turns in range(2 if split == "train" else 1):
                image.rotate(90 * turns + label).save(part / f"{turns}.jpg")


def small_frame(number: int) -> Maker:
    def make(path: Path) -> None:
        with Image.open(perceivers.sample(f"flow/film{number}.jpg")) as image:
            image.resize((64, 48)).save(path)

    return make


def frames(folder: Path) -> None:
    folder.mkdir()
    for number in (1, 2):
        small_frame(number)(folder / f"{number}.png")


def flow_pairs(folder: Path) -> None:
    moved = np.broadcast_to(np.array([1, 0], np.float32), (48, 64, 2)).copy()
    for split in _SPLITS:
        (folder / split).mkdir(parents=True)
        for pair in range(2):
            for number in (1, 2):
                small_frame(number)(folder / split / f"{pair}_img{number}.png")
            write_flow(folder / split / f"{pair}_flow.flo", moved)


def clip(path: Path) -> None:
    """Four frames with a tone."""
    noise = np.random.default_rng(0)
    tone = np.sin(np.arange(2560) * 0.2).astype(np.float32)
    write_video(path, noise.integers(0, 256, (4, 32, 48, 3), dtype=np.uint8), 25.0, tone, 16000)


def clips(folder: Path) -> None:
    for split, number in product(_SPLITS, range(2)):
        (folder / split).mkdir(parents=True, exist_ok=True)
        clip(folder / split / f"{number}.mp4")


def clip_classes(folder: Path) -> None:
    for split, label in product(_SPLITS, ("ball", "sea")):
        (folder / split / label).mkdir(parents=True)
        for number in range(2):
            clip(folder / split / label / f"{number}.mp4")


def digit(path: Path) -> None:
    shutil.copy(_samples("sounds")[3], path)


def sound_classes(folder: Path) -> None:
    for split, source in product(_SPLITS, _samples("sounds")[:2]):
        part = folder / split / source.stem.partition("_")[0]
        part.mkdir(parents=True)
        for number in range(3):
            shutil.copy(source, part / f"{number}.wav")


def several_sounds(path: Path) -> None:
    """A table of clips with any number of labels each."""
    for number, source in enumerate(_samples("sounds")[:4]):
        shutil.copy(source, path.parent / f"take{number}.wav")
    rows = [{"audio": f"take{i % 4}.wav", "label": ["voice", "low"][: i % 3]} for i in range(12)]
    _write_lines(path, rows)


def cloud(path: Path) -> None:
    np.save(path, np.random.default_rng(0).normal(size=(256, 3)))


def cloud_classes(folder: Path) -> None:
    noise = np.random.default_rng(0)
    for split, (label, height) in product(_SPLITS, (("flat", 0.1), ("tall", 3.0))):
        (folder / split / label).mkdir(parents=True)
        for number in range(3):
            np.save(folder / split / label / f"{number}.npy", noise.normal(size=(64, 3)) * (1, 1, height))


def cells(folder: Path) -> None:
    """Images with their objects in COCO's JSON, one document a split."""
    for split in _SPLITS:
        (folder / split).mkdir(parents=True)
        images, annotations = [], []
        for number, source in enumerate(_samples("images")[:3]):
            shutil.copy(source, folder / split / source.name)
            images.append({"id": number, "file_name": source.name, "width": 64, "height": 64})
            box = {"category_id": 1 + number % 2, "bbox": [8, 8 + number, 20, 24]}
            annotations.append({"id": number, "image_id": number, **box})
        names = [{"id": 1, "name": "red"}, {"id": 2, "name": "white"}]
        document = {"images": images, "annotations": annotations, "categories": names}
        (folder / split / "_annotations.coco.json").write_text(json.dumps(document), encoding="utf-8")


def _write_lines(path: Path, rows: list[dict[str, object]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def table(*header: str) -> Maker:
    """Return what writes a table of texts; a label is one of two, a pair another text, anything else a number."""

    def make(path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [tuple(_cell(column, i) for column in header) for i in range(24)]
        write_csv(path, header, rows)

    return make


def _cell(column: str, number: int) -> object:
    if column in ("text", "review"):
        return passage(number)[:60]
    if column in ("text_pair", "sentence2"):
        return passage(number + 1)[:60]
    return ("bad", "good")[number % 2] if column == "label" else number % 5


def tables(*header: str) -> Maker:
    """Return what writes a folder with a table for each split."""

    def make(folder: Path) -> None:
        for split in _SPLITS:
            table(*header)(folder / f"{split}.csv")

    return make


def parts(folder: Path) -> None:
    """A training split in parts, and a test."""
    for number in range(2):
        table("text", "label")(folder / f"train-0000{number}-of-00002.csv")
    table("text", "label")(folder / "test.csv")


def several(*names: str) -> Maker:
    """Return what writes a folder of data sets of texts."""

    def make(folder: Path) -> None:
        for name in names:
            tables("text", "label")(folder / name)

    return make


def books(folder: Path) -> None:
    folder.mkdir(parents=True)
    for split in ("train", "valid"):
        (folder / f"novel.{split}.txt").write_text("\n".join(map(passage, range(6))) * 2, encoding="utf-8")


def lines(path: Path) -> None:
    path.write_text("\n".join(passage(i)[:60].replace("\n", " ") for i in range(6)) + "\n", encoding="utf-8")


def tagged(folder: Path) -> None:
    folder.mkdir()
    sentence = "Ada B-person\nLovelace I-person\nwent O\nto O\nParis B-place\n. O\n\nnothing O\nhere O\n\n"
    for split in ("train", "dev", "test"):
        (folder / f"{split}.conll").write_text(sentence.replace(" ", "\t") * 4, encoding="utf-8")


def questions(folder: Path) -> None:
    folder.mkdir()
    context = "Ada Lovelace was born in London."
    rows: list[dict[str, object]] = [
        {"question": "Who was born?", "context": context, "answers": {"text": ["Ada Lovelace"], "answer_start": [0]}},
        {"question": "Where was she born?", "context": context, "answers": {"text": ["London"], "answer_start": [25]}},
    ]
    for split in _SPLITS:
        _write_lines(folder / f"{split}.jsonl", rows * 6)


def checkpoint(path: Path) -> None:
    """A checkpoint file of the original, at full size, with random weights."""
    import pickle

    from perceivers.pretrained.haiku import save_haiku

    flat = save_haiku(perceivers.build("image-fourier"))
    nested: dict[str, dict[str, np.ndarray]] = {}
    for name, array in flat.items():
        module, _, leaf = name.rpartition("/")
        nested.setdefault(module, {})[leaf] = array
    path.write_bytes(pickle.dumps({"params": nested, "state": {}}))


def parquet(path: Path) -> None:
    from datasets import Dataset

    Dataset.from_dict({"text": [passage(i)[:60] for i in range(6)]}).to_parquet(str(path))


# Names that stand in the documentation. What is generated ("digits", "shapes", "clips") needs no files.
FILES: dict[str, Maker] = {
    "photo.jpg": photo,
    "new/": photos,
    "photos/": image_classes,
    "fields/": image_classes,
    "my-photos/": image_classes,
    "labelled/": image_classes,
    "eurosat": image_classes,
    "PHOTOS": photos,
    "MORE_PHOTOS": photos,
    "frame1.png": small_frame(1),
    "frame2.png": small_frame(2),
    "frames/": frames,
    "warped_pairs": flow_pairs,
    "pairs/": flow_pairs,
    "clip.mp4": clip,
    "films/": clip_classes,
    "clips_cut": clips,
    "digit.wav": digit,
    "sounds/": sound_classes,
    "fsdd": sound_classes,
    "sounds.jsonl": several_sounds,
    "cloud.npy": cloud,
    "clouds/": cloud_classes,
    "cells/": cells,
    "bccd": cells,
    "reviews.csv": table("review", "label"),
    "messages.csv": table("text"),
    "messages.parquet": parquet,
    "messages.txt": lines,
    "a.csv": table("text", "label"),
    "b.csv": table("text", "text_pair", "grade"),
    "imdb": tables("text", "label"),
    "sms_spam": tables("text", "label"),
    "reviews/": parts,
    "text_classification/": several("sms_spam", "banking77"),
    "glue/": several("sst2", "mrpc", "stsb"),
    "books/": books,
    "text_lm": books,
    "someone/corpus": books,
    "tagged/": tagged,
    "wnut17": tagged,
    "questions/": questions,
    "squad": questions,
    "imagenet_fourier.pystate": checkpoint,
}

# How models were trained that the documentation uses without training them.
RUNS: dict[str, str] = {
    "runs/digits": "--recipe digits",
    "runs/photos": "image-classification --data photos/",
    "runs/eurosat": "image-classification --data eurosat",
    "runs/reviews": "text-classification --data reviews.csv",
    "runs/sms-spam": "--recipe sms-spam --data sms_spam",
    "runs/sms200": "--recipe sms-spam --data sms_spam",
    "runs/books": "fill-mask --data books/",
    "runs/books-512": "--recipe books-512 --data text_lm",
    "runs/two-texts": "--recipe two-texts --data text_classification/",
    "runs/wnut17": "--recipe wnut17 --data wnut17",
    "runs/squad": "--recipe squad --data squad",
    "runs/cells": "object-detection --data cells/",
    "runs/sounds": "audio-classification --data sounds/",
    "runs/clouds": "point-cloud-classification --data clouds/",
    "runs/clips": "--recipe clips",
    "runs/masked": "masked-autoencoding --data photos/",
    "runs/flow-scenes": "--recipe flow-scenes",
    "runs/flow-on": "--recipe flow-scenes",
    "runs/flow-on-on": "--recipe flow-scenes",
}


def named_in(text: str, names: Iterable[str]) -> list[str]:
    """Return which of some names stand in a text, as a whole path or the beginning of one."""
    return [name for name in names if re.search(rf"(?<![\w./-]){re.escape(name)}{_end_of(name)}", text)]


def _end_of(name: str) -> str:
    """Return what must not follow: a folder may be the beginning of a path, a file must be its end."""
    return "" if name.endswith("/") else r"(?![\w-]|\.\w)"


def make_files(text: str, folder: Path) -> None:
    """Make the files that a text names and that are not there yet."""
    for name in named_in(text, FILES):
        path = folder / name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            FILES[name](path)
