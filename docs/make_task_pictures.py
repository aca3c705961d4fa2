"""Draw the picture of each task's page: what a model that ships, or a small one trained here, says of real inputs.

python docs/make_task_pictures.py
python docs/make_task_pictures.py fill-mask optical-flow
python docs/make_task_pictures.py object-detection --data path/to/bccd --model runs/bccd

Tasks for which no model ships take the folder of a trained one (`--model`), or train one by a recipe first, which
`TASKS` names. `docs/pictures/tasks/README.md` says what is shown.
"""

import argparse
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

import perceivers
from perceivers.data import DataConfig, load_data
from perceivers.data.tags import find_entities
from perceivers.processing.flow import read_flow
from perceivers.processing.flow_pictures import end_point_error, error_picture, flow_picture
from perceivers.tasks.drawing import below, beside, captioned
from perceivers.train import OptimizerConfig, Recipe, ScheduleConfig, TrainConfig, load_recipe, prepare_run
from perceivers.train.recipe import change_recipe

FOLDER = Path(__file__).parent / "pictures" / "tasks"
NOTEBOOK_DATA = Path(__file__).parents[1] / "notebooks" / "data"
WIDTH, MARGIN, MOST_BYTES = 900, 12, 150_000
SATELLITE = ("River_1828", "Highway_12", "SeaLake_2391")


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """How a picture is made.

    Args:
        draw: Takes a pipeline and the evaluation split (`None` without data) to the picture.
        model: The model that is asked; `None` trains one by `recipe`, or takes `--model`.
        recipe: The recipe, or its name.
        changes: What of the recipe is changed, so that it takes minutes.
        data: Where the data lies, or a name of data that comes with the package; `None` for what needs `--data`.
        roles: Columns that are needed of the data, where there is no recipe; none need no data.
    """

    draw: Callable[[perceivers.Pipeline, Any], Image.Image]
    model: str | None = None
    recipe: str | Recipe | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)
    data: str | None = None
    roles: tuple[str, ...] = ()


def row(pictures: Sequence[Image.Image], gap: int = 16) -> Image.Image:
    """Put pictures next to each other on white."""
    return reduce(lambda left, right: beside(left, right, gap), pictures)


def of_height(picture: Image.Image, height: int) -> Image.Image:
    """Return a picture in another size."""
    return picture.resize((round(picture.width * height / picture.height), height), Image.Resampling.LANCZOS)


def answers(pipe: perceivers.Pipeline, values: Sequence[Any], *, top_k: int = 3) -> Image.Image:
    """Draw inputs with their answers, and on their right what was attended to."""
    looks = [pipe.attention(value)[0] for value in values]
    return below([beside(pipe.picture(v, top_k=top_k), look, 24) for v, look in zip(values, looks, strict=True)], 20)


def fill_mask(pipe: perceivers.Pipeline, rows: Any) -> Image.Image:
    """Hidden letters of two sentences of books."""
    texts = ("a single man in possession of a [MASK:4] fortune", "lend me your e[MASK]rs")
    return answers(pipe, texts)


def images(pipe: perceivers.Pipeline, rows: Any) -> Image.Image:
    """Three satellite images that the model was not trained on."""
    paths = [perceivers.sample(f"images/{name}.jpg") for name in SATELLITE]
    columns = [below([of_height(pipe.picture(path, top_k=3), 130), pipe.attention(path)[0]]) for path in paths]
    return row(columns)


def flow(pipe: perceivers.Pipeline, rows: Any) -> Image.Image:
    """A pair of photographs whose motion is known."""
    result = pipe(perceivers.sample("flow/photo1.jpg"), perceivers.sample("flow/photo2.jpg"))
    truth = read_flow(perceivers.sample("flow/photo-motion.png")).flow
    longest = float(np.linalg.norm(truth, axis=-1).max())
    errors = [end_point_error(answer, truth)["epe"] for answer in (result.flow, np.zeros_like(truth))]
    panels = {
        "frame 1": Image.fromarray(result.frames[0]),
        "frame 2": Image.fromarray(result.frames[1]),
        f"true motion, up to {longest:.0f} pixels": flow_picture(truth, longest),
        "flow-mini": result.picture(longest),
        "arrows": result.overlay(),
        f"its error, {errors[0]:.1f} pixels in the mean (no motion: {errors[1]:.1f})": error_picture(
            result.flow, truth
        ),
    }
    cells = [captioned(of_height(panel, 220), name) for name, panel in panels.items()]
    return below([row(cells[:3], 8), row(cells[3:], 8)])


def clip(pipe: perceivers.Pipeline, rows: Any) -> Image.Image:
    """The first held-out clip, and what comes back of it."""
    return pipe(rows[0]["video"]).sheet()


def sounds(pipe: perceivers.Pipeline, rows: Any) -> Image.Image:
    """Two spoken digits."""
    paths = [perceivers.sample(f"sounds/{name}.wav") for name in ("7_jackson_4", "2_yweweler_3")]
    return below([below([pipe.picture(path, top_k=3), pipe.attention(path)[0]]) for path in paths], 24)


def texts(pipe: perceivers.Pipeline, rows: Any) -> Image.Image:
    """A message of each kind from the test split."""
    values = [next(r["text"] for r in rows if r["label"] == i and 40 < len(r["text"]) < 120) for i in (0, 1)]
    return answers(pipe, values)


def several_tasks(pipe: perceivers.Pipeline, rows: Any) -> Image.Image:
    """The same message, asked about by each task."""
    values = ["I am still waiting on my card?", "WINNER! You have won a free prize, call 0800 000 000 to claim it."]
    return below([pipe.picture(value) for value in values], 20)


def tags(pipe: perceivers.Pipeline, rows: Any) -> Image.Image:
    """The first three sentences of the evaluation split in which all that is found is right, and one with a mistake."""
    right, wrong = [], []
    names = pipe.task.labels or ()
    for given in rows:
        found = [(entity["entity_group"], entity["word"]) for entity in pipe(given)]
        truth = [
            (kind, " ".join(given["tokens"][first:end]))
            for kind, first, end in find_entities([str(names[i]) for i in given["tags"]])
        ]
        if found:
            (right if found == truth else wrong).append(given)
    return below([pipe.picture(given) for given in (*right[:3], *wrong[:1])], 20)


def spans(pipe: perceivers.Pipeline, rows: Any) -> Image.Image:
    """The first question of the evaluation split that is answered right, and the first that is not."""
    right, wrong = [], []
    for given in rows:
        best = pipe(given, top_k=1)[0]["answer"]
        (right if best in given["answers"]["text"] else wrong).append(given)
        if right and wrong:
            break
    return below([pipe.picture(given) for given in (*right[:1], *wrong[:1])], 20)


def boxes(pipe: perceivers.Pipeline, rows: Any) -> Image.Image:
    """Two test images, and what the first box of one attends to."""
    panels = [of_height(pipe.picture(rows[i]["image"]), 320) for i in (0, 1)]
    return row(panels, 8)


def points(pipe: perceivers.Pipeline, rows: Any) -> Image.Image:
    """Clouds of two kinds from the evaluation split."""
    clouds = [rows[i]["points"] for i in (0, 1)]
    return below([beside(pipe.picture(cloud, top_k=3), pipe.attention(cloud)[0]) for cloud in clouds])


def hidden(pipe: perceivers.Pipeline, rows: Any) -> Image.Image:
    """Images of the evaluation split, half of them hidden, and what is put in its place."""
    return below([row([pipe.picture(rows[i + j]["image"]) for j in (0, 1)], 24) for i in (0, 2)])


def features(pipe: perceivers.Pipeline, rows: Any) -> Image.Image:
    """Mean latents of the test images on two axes, in the colours of their labels."""
    latents = np.stack([latent.mean(axis=(0, 1)) for latent in pipe.encode_stream(r["image"] for r in rows)])  # (K, D)
    labels = np.array([r["label"] for r in rows])
    apart = np.linalg.norm(latents[:, None] - latents[None], axis=-1) + np.diag(np.full(len(latents), np.inf))
    nearest = labels[apart.argsort(axis=1)[:, :5]]
    votes = np.array([np.bincount(near, minlength=10).argmax() for near in nearest])
    axes_of = np.linalg.svd(latents - latents.mean(axis=0), full_matrices=False)[2][:2]
    places = (latents - latents.mean(axis=0)) @ axes_of.T
    figure = Figure(figsize=(9, 5), dpi=100, layout="constrained")
    axes = figure.subplots()
    for i, name in enumerate(pipe.task.labels or ()):
        axes.scatter(*places[labels == i].T, s=14, label=name)
    axes.set(title=f"{len(rows)} images; {np.mean(votes == labels):.0%} have the label of most of their five nearest")
    axes.set(xlabel="first principal component of the latents", ylabel="second")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(frameon=False, loc="outside right center")
    file = BytesIO()
    figure.savefig(file)
    return Image.open(file).convert("RGB")


TASKS: dict[str, Drawn] = {
    "fill-mask": Drawn(draw=fill_mask, model="text-mini"),
    "image-classification": Drawn(draw=images, model="image-mini"),
    "optical-flow": Drawn(draw=flow, model="flow-mini"),
    "video-autoencoding": Drawn(draw=clip, model="video-mini", data="clips", roles=("video",)),
    "audio-classification": Drawn(draw=sounds, model="audio-mini"),
    "features": Drawn(draw=features, model="image-mini", roles=("image", "label")),
    "text-classification": Drawn(
        draw=texts, recipe="sms-spam", changes={"train.epochs": 6}, data=str(NOTEBOOK_DATA / "sms_spam")
    ),
    "point-cloud-classification": Drawn(draw=points, recipe="shapes", data="shapes"),
    "masked-autoencoding": Drawn(
        draw=hidden,
        recipe=Recipe(
            task="masked-autoencoding",
            model="digits-small",
            data=DataConfig(source="digits"),
            settings={"mask_share": 0.5},
            train=TrainConfig(max_steps=500, batch_size=64, optimizer=OptimizerConfig(learning_rate=3e-3)),
        ),
        data="digits",
    ),
    "token-classification": Drawn(draw=tags, recipe="wnut17"),
    "question-answering": Drawn(
        draw=spans,
        # As in notebooks/question_answering.ipynb.
        recipe=Recipe(
            task="question-answering",
            model="text-mini",
            data=DataConfig(source="questions"),
            settings={"overlap": 128, "longest_answer": 64, "byte_dropout": 0.05},
            train=TrainConfig(
                max_steps=200,
                batch_size=8,
                eval_every=200,
                ema_decay=0.98,
                optimizer=OptimizerConfig(learning_rate=1e-3, weight_decay=0.05),
                schedule=ScheduleConfig(warmup_fraction=0.1),
            ),
        ),
        data=str(NOTEBOOK_DATA / "questions"),
    ),
    "object-detection": Drawn(draw=boxes, recipe="bccd"),
    "multitask-text-classification": Drawn(draw=several_tasks, recipe="two-texts"),
}


def make(name: str, data: str | None, model: str | None) -> Image.Image:
    """Draw the picture of a task.

    Args:
        name: Of the task.
        data: Where the data lies, instead of where it is expected.
        model: Folder of a trained model, instead of training one.

    Raises:
        SystemExit: The task needs `--data`.
    """
    how = TASKS[name]
    source = data or how.data
    if source is None and (how.recipe or how.roles):
        raise SystemExit(f"{name} needs --data")
    if how.recipe is None:
        rows = load_data(DataConfig(source=source), how.roles).eval if source else None
        return how.draw(perceivers.pipeline(model=model or how.model), rows)
    recipe = load_recipe(how.recipe) if isinstance(how.recipe, str) else how.recipe
    run = prepare_run(change_recipe(recipe, {**how.changes, "data.source": source, "train.tracker": None}))
    with tempfile.TemporaryDirectory() as folder:
        if model is None:
            print(name, run.trainer(folder).run().metrics)
        return how.draw(perceivers.pipeline(model=model or folder), run.splits.eval)


def write(name: str, picture: Image.Image) -> Path:
    """Write a picture with a white margin, as PNG, or as JPEG where that would be large."""
    inner = WIDTH - 2 * MARGIN
    if picture.width > inner:
        picture = of_height(picture, round(picture.height * inner / picture.width))
    page = Image.new("RGB", (WIDTH, picture.height + 2 * MARGIN), "white")
    page.paste(picture, ((WIDTH - picture.width) // 2, MARGIN))
    png, jpg = (FOLDER / f"{name}.{kind}" for kind in ("png", "jpg"))
    jpg.unlink(missing_ok=True)
    page.save(png, optimize=True)
    if png.stat().st_size <= MOST_BYTES:
        return png
    png.unlink()
    page.save(jpg, quality=85)
    return jpg


def main() -> None:
    """Draw what was asked for, or all that needs nothing more."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", choices=[*TASKS, []], help="all that need no --data by default")
    parser.add_argument("--data", help="where the data of the recipe lies")
    parser.add_argument("--model", help="folder of a trained model, instead of training one")
    asked = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in asked.tasks or [name for name, how in TASKS.items() if how.data or not (how.recipe or how.roles)]:
        path = write(name, make(name, asked.data, asked.model))
        print(f"{path.name}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
