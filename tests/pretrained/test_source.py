"""What is known of a model besides its weights: its task, label names, settings and where it came from."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import perceivers
from golden_models import GOLDENS, Golden, config_of
from hf_families import FAMILIES
from perceivers.pretrained import source
from perceivers.pretrained.folder import own_tensors, save_folder
from perceivers.pretrained.hf_images import preparation
from perceivers.pretrained.load import build, seeded_model
from perceivers.pretrained.source import open_source
from perceivers.tasks.base import task_from_json
from perceivers.zoo import ZOO, label_names
from train_examples import tiny_config

LABELS_OF_SEVEN = [f"LABEL_{i}" for i in range(7)]
IMAGES = {
    "original": {"fit": "center", "interpolation": "opencv"},
    "transformers": {"fit": "center-transformers", "interpolation": "pillow"},
}


def with_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_folders_of_our_own_keep_their_task(tmp_path: Path) -> None:
    task = {"name": "image-classification", "labels": ["a", "b", "c"]}
    model = seeded_model(tiny_config(), 0)
    save_folder(model, tmp_path / "with", task)
    save_folder(model, tmp_path / "without")
    opened = open_source(tmp_path / "with")
    assert (opened.task, opened.numerics) == (task, None)
    assert opened.origin == f"{tmp_path / 'with'} (folder)"
    assert not opened.model.training
    assert open_source(tmp_path / "without").task is None


def test_what_can_be_opened_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(source, "obtainable", lambda repo_id, *, token: bool(asked.append(repo_id)))
    assert perceivers.available(tmp_path)
    assert perceivers.available("text-mini")
    assert not asked
    assert not perceivers.available("language")
    assert not perceivers.available("someone/model")
    assert asked == ["deepmind/language-perceiver", "someone/model"]
    with pytest.raises(ValueError, match="'language-small' has no released weights"):
        perceivers.available("language-small")
    with pytest.raises(ValueError, match="'nothing' is no file, no folder"):
        perceivers.available("nothing")


@pytest.mark.parametrize(
    ("kind", "numerics", "task"),
    [
        ("text", "transformers", {"name": "fill-mask", "special_tokens": True}),
        ("text", "original", {"name": "fill-mask"}),
        (
            "text-classes",
            "transformers",
            {"name": "text-classification", "special_tokens": True, "labels": LABELS_OF_SEVEN},
        ),
        ("text-classes", "original", {"name": "text-classification", "labels": LABELS_OF_SEVEN}),
        *(
            (
                kind,
                numerics,
                {
                    "name": "image-classification",
                    **IMAGES[numerics],
                    "labels": LABELS_OF_SEVEN,
                },
            )
            for kind in ("image-pixels", "image-conv1x1", "image-conv")
            for numerics in IMAGES
        ),
        ("flow", "transformers", {"name": "optical-flow"}),
        ("multimodal", "original", {"name": "video-autoencoding", "labels": LABELS_OF_SEVEN}),
    ],
)
def test_folders_of_transformers_say_their_task(tmp_path: Path, kind: str, numerics: Any, task: dict[str, Any]) -> None:
    FAMILIES[kind]().model().save_pretrained(tmp_path)
    opened = open_source(tmp_path, numerics=numerics)
    assert opened.task == task
    assert opened.numerics == numerics
    json.dumps(opened.task)


def test_label_names_of_transformers(tmp_path: Path) -> None:
    FAMILIES["text-classes"]().model().save_pretrained(tmp_path)
    with_config(tmp_path, id2label={str(i): f"class {i}" for i in reversed(range(7))})
    opened = open_source(tmp_path)
    assert opened.task is not None
    assert opened.task["labels"] == [f"class {i}" for i in range(7)]
    # Numbers that are no count of outputs say nothing.
    with_config(tmp_path, id2label={str(i + 1): f"class {i}" for i in range(7)})
    opened = open_source(tmp_path)
    assert opened.task is not None
    assert opened.task["labels"] == LABELS_OF_SEVEN


def test_released_repositories_have_shipped_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    family = FAMILIES["multimodal"]()
    family.model(num_labels=700).save_pretrained(tmp_path)
    monkeypatch.setattr("perceivers.pretrained.source.fetch", lambda *args, **kwargs: tmp_path)
    opened = open_source("video-autoencoding")
    assert opened.task == {"name": "video-autoencoding", "labels": list(label_names("kinetics700"))}
    assert (opened.origin, opened.numerics) == ("deepmind/multimodal-perceiver (Hub)", "original")
    assert (
        open_source("deepmind/multimodal-perceiver", revision="v1").origin == "deepmind/multimodal-perceiver@v1 (Hub)"
    )
    assert open_source("someone/multimodal-perceiver").task == {
        "name": "video-autoencoding",
        "labels": [f"LABEL_{i}" for i in range(700)],
    }
    # A list of another length would be a lie.
    family.model().save_pretrained(tmp_path)
    other = open_source("video-autoencoding").task
    assert other is not None
    assert other["labels"] == LABELS_OF_SEVEN


def test_checkpoint_files_say_their_task() -> None:
    path = GOLDENS / "imagenet_fourier_small.flatmapping_p3.pickle"
    config = config_of(Golden(GOLDENS / "imagenet_fourier_small.npz").recipe)
    opened = open_source(path, config=config)
    assert opened.numerics == "original"
    assert opened.origin == f"{path} (file)"
    assert opened.task is not None
    assert opened.task["labels"][0] == "LABEL_0"
    assert {**opened.task, "labels": None} == {
        "name": "image-classification",
        **ZOO["image-fourier"].settings,
        "labels": None,
    }


def test_a_repository_may_hold_a_model_that_was_saved_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_folder(seeded_model(tiny_config(), 0), tmp_path, {"name": "image-classification"})
    monkeypatch.setattr("perceivers.pretrained.source.fetch", lambda *args, **kwargs: tmp_path)
    opened = open_source("someone/digits")
    assert (opened.origin, opened.numerics) == ("someone/digits (Hub)", None)
    assert opened.task == {"name": "image-classification"}


def test_arguments_that_say_nothing_are_refused(tmp_path: Path) -> None:
    save_folder(seeded_model(tiny_config(), 0), tmp_path)
    with pytest.raises(ValueError, match="its own config says how it computes"):
        open_source(tmp_path, numerics="original")
    with pytest.raises(ValueError, match=r"revision names a commit of a repository; .* lies on this machine"):
        open_source(tmp_path, revision="v1")
    with pytest.raises(ValueError, match="is a checkpoint of the original"):
        open_source(GOLDENS / "imagenet_fourier_small.flatmapping_p3.pickle", numerics="transformers")


def test_released_models_are_built_by_the_name_of_their_repository() -> None:
    changes = {"encoder.num_layers_per_block": 1, "encoder.latent_channels": 16, "encoder.num_latents": 3}
    model = build("deepmind/optical-flow-perceiver", overrides=changes)
    assert len(model.encoder.latents) == 3
    assert perceivers.open_source is open_source


SOURCES = ["folder", "transformers", "file"]


def source_of(kind: str, folder: Path) -> tuple[Path, dict[str, Any]]:
    """Return a model with a head for labels, and how to open it."""
    if kind == "file":
        config = config_of(Golden(GOLDENS / "imagenet_conv_small.npz").recipe)
        return GOLDENS / "imagenet_conv_small.numpy2_jaxarray.pickle", {"config": config}
    if kind == "folder":
        save_folder(seeded_model(tiny_config(), 0), folder, {"name": "image-classification", "labels": ["a", "b"]})
    else:
        FAMILIES["image-conv"]().model().save_pretrained(folder)
    return folder, {}


@pytest.mark.parametrize("kind", SOURCES)
def test_a_new_head_keeps_everything_else(tmp_path: Path, kind: str) -> None:
    source, how = source_of(kind, tmp_path)
    old = open_source(source, **how)
    torch.manual_seed(3)
    state = torch.get_rng_state()
    open_source(source, **how)
    assert torch.equal(torch.get_rng_state(), state)
    new = open_source(source, num_labels=10, **how)
    assert new.task is not None
    assert old.task is not None
    assert new.task == {**old.task, "labels": [f"LABEL_{i}" for i in range(10)]}
    ours, theirs = own_tensors(new.model), own_tensors(old.model)
    head = {"outputs.linear.weight", "outputs.linear.bias"}
    assert set(ours) == set(theirs)
    assert all(torch.equal(ours[name], theirs[name]) for name in set(ours) - head)
    assert ours["outputs.linear.weight"].shape == (10, theirs["outputs.linear.weight"].shape[1])
    assert ours["outputs.linear.bias"].shape == (10,)
    torch.manual_seed(3)
    again = own_tensors(open_source(source, num_labels=10, **how).model)
    assert torch.equal(again["outputs.linear.weight"], ours["outputs.linear.weight"])
    other = own_tensors(open_source(source, num_labels=10, **how).model)
    assert not torch.equal(other["outputs.linear.weight"], ours["outputs.linear.weight"])


def test_a_new_head_of_the_old_size_is_new_all_the_same(tmp_path: Path) -> None:
    source, _ = source_of("transformers", tmp_path)
    old, new = own_tensors(open_source(source).model), own_tensors(open_source(source, num_labels=7).model)
    assert not torch.equal(old["outputs.linear.weight"], new["outputs.linear.weight"])


def test_a_new_head_needs_labels(tmp_path: Path) -> None:
    FAMILIES["flow"]().model().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"num_labels makes a new head for labels; .* has 'flow' outputs"):
        open_source(tmp_path, num_labels=3)
    FAMILIES["text-classes"]().model().save_pretrained(tmp_path / "labels")
    with pytest.raises(ValueError, match=r"num_labels \(0\) must be at least 1"):
        open_source(tmp_path / "labels", num_labels=0)


def prepare_as(folder: Path, **fields: Any) -> None:
    (folder / "preprocessor_config.json").write_text(json.dumps(fields))


def test_how_a_folder_prepares_images_is_kept_to(tmp_path: Path) -> None:
    FAMILIES["image-pixels"]().model().save_pretrained(tmp_path)
    prepare_as(tmp_path, image_mean=[0.5, 0.5, 0.5], image_std=[0.1, 0.2, 0.3], size={"height": 224, "width": 224})
    opened = open_source(tmp_path)
    inputs: Any = opened.model.inputs
    assert inputs.mean.tolist() == [0.5, 0.5, 0.5]
    assert inputs.std.tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert opened.task is not None
    assert opened.task["fit"] == "center-transformers"
    prepare_as(tmp_path, crop_size=224)
    opened = open_source(tmp_path)
    assert opened.task is not None
    assert opened.task["fit"] == "crop"
    prepare_as(tmp_path, do_normalize=False, do_center_crop=False)
    opened = open_source(tmp_path)
    assert opened.model.inputs.mean.tolist() == [0.0]  # pyright: ignore
    assert opened.task is not None
    assert opened.task["fit"] == "stretch"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"size": 112, "crop_size": 128}, r"size = 112 \(do_resize = True\); the model reads \(224, 224\)"),
        ({"do_resize": False}, r"do_resize = False"),
        ({"crop_size": 240}, r"crop_size = 240 of size = 224; known = .*'center': \(256, 256\)"),
        ({"resample": 2}, r"resample = 2; only 3 \(bicubic\) is known"),
        ({"rescale_factor": 1.0}, r"rescale_factor = 1.0 .*; only 1/255 is known"),
        ({"do_rescale": False}, "rescale_factor = "),
        ({"image_mean": [0.5, 0.5]}, "mean"),
        ({"image_std": "wide"}, "std"),
        ({"image_std": [0.0, 0.0, 0.0]}, "std"),
        ({"rescale_factor": "many"}, "rescale_factor = 'many'"),
        ({"size": {"shortest_edge": 224}}, "size = "),
    ],
)
def test_other_preparations_of_images_are_refused(tmp_path: Path, fields: dict[str, Any], message: str) -> None:
    FAMILIES["image-pixels"]().model().save_pretrained(tmp_path)
    prepare_as(tmp_path, **fields)
    with pytest.raises(ValueError, match=message) as caught:
        open_source(tmp_path)
    assert "preprocessor_config.json" in str(caught.value)


def test_the_usual_preparation_changes_nothing(tmp_path: Path) -> None:
    prepare_as(tmp_path)
    inputs = ZOO["image-fourier"].config
    changes, fit = preparation(tmp_path / "preprocessor_config.json", inputs)
    assert fit == "center"
    assert changes == {"inputs.mean": [0.485, 0.456, 0.406], "inputs.std": [0.229, 0.224, 0.225]}


@pytest.mark.parametrize("numerics", ["original", "transformers"])
@pytest.mark.parametrize("kind", ["image-pixels", "image-conv1x1", "image-conv", "text", "text-classes"])
def test_tasks_take_what_is_known_of_a_model(tmp_path: Path, kind: str, numerics: Any) -> None:
    FAMILIES[kind]().model().save_pretrained(tmp_path)
    opened = open_source(tmp_path, numerics=numerics)
    assert opened.task is not None
    task = task_from_json(opened.task, opened.model.config)
    assert {**task.to_json(), **opened.task} == task.to_json()
