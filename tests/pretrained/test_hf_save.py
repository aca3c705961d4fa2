"""Folders in the layout of `transformers`, read by `transformers` itself and by us."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from hf_families import FAMILIES, Family, transformers
from perceivers.config import override
from perceivers.model import PerceiverIO
from perceivers.pretrained import place
from perceivers.pretrained.folder import own_tensors
from perceivers.pretrained.hf import from_transformers, unlike_transformers
from perceivers.pretrained.hf_save import save_hf_folder
from perceivers.pretrained.load import seeded_model
from perceivers.pretrained.source import open_source
from perceivers.zoo import ZOO
from train_examples import tiny_config


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("kind", FAMILIES)
@torch.inference_mode()
def test_transformers_loads_what_is_written(tmp_path: Path, kind: str, dtype: torch.dtype) -> None:
    family = FAMILIES[kind]()
    hf_model = family.model().to(dtype)
    save_hf_folder(from_transformers(hf_model), tmp_path / "model")
    again = getattr(transformers, family.class_name).from_pretrained(tmp_path / "model", dtype="auto")
    assert again.dtype == dtype
    theirs, expected = again.state_dict(), hf_model.state_dict()
    assert list(theirs) == list(expected)
    for name, tensor in expected.items():
        assert torch.equal(theirs[name], tensor), name
    if dtype == torch.float32:
        for name, answer in family.ask_port(hf_model).items():
            torch.testing.assert_close(family.ask_port(again)[name], answer, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", FAMILIES)
def test_there_and_back_keeps_every_bit(tmp_path: Path, kind: str) -> None:
    family = FAMILIES[kind]()
    family.model().save_pretrained(tmp_path / "a")
    first = open_source(tmp_path / "a")
    save_hf_folder(first.model, tmp_path / "b", first.task)
    second = open_source(tmp_path / "b")
    assert second.model.config == first.model.config
    assert second.task == first.task
    for name, tensor in own_tensors(first.model).items():
        assert torch.equal(own_tensors(second.model)[name], tensor), name
    save_hf_folder(second.model, tmp_path / "c", second.task)
    for file in ("config.json", "model.safetensors"):
        assert (tmp_path / "c" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


@torch.inference_mode()
def test_processors_of_transformers_prepare_as_the_task_does(tmp_path: Path) -> None:
    family = FAMILIES["image-pixels"]()
    model = from_transformers(family.model())
    changed = PerceiverIO(override(model.config, {"inputs.mean": [0.4, 0.5, 0.6], "inputs.std": [0.3, 0.2, 0.1]}))
    changed.load_state_dict(model.state_dict())
    labels = [f"class {i}" for i in range(7)]
    save_hf_folder(changed.eval(), tmp_path / "m", {"name": "image-classification", "labels": labels, "fit": "center"})
    opened = open_source(tmp_path / "m")
    assert opened.task == {
        "name": "image-classification",
        "fit": "center-transformers",
        "interpolation": "pillow",
        "labels": labels,
    }
    pixels = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    processor = transformers.AutoImageProcessor.from_pretrained(tmp_path / "m")
    hf_model = transformers.AutoModelForImageClassification.from_pretrained(tmp_path / "m").eval()
    logits = hf_model(inputs=processor(Image.fromarray(pixels), return_tensors="pt")["pixel_values"]).logits
    ours = opened.model({"image": torch.from_numpy(pixels[16:-16, 16:-16].copy())[None]})
    torch.testing.assert_close(ours, logits, rtol=0, atol=1e-4 * float(logits.square().mean().sqrt()))
    assert hf_model.config.id2label == dict(enumerate(labels))


@torch.inference_mode()
def test_tokenizers_of_transformers_load(tmp_path: Path) -> None:
    family = FAMILIES["text"]()
    model = from_transformers(family.model(vocab_size=262))
    save_hf_folder(model, tmp_path / "m")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "m")
    assert tokenizer.model_max_length == 11
    batch = tokenizer(["héllo", "a"], padding=True, return_tensors="pt")
    hf_model = transformers.AutoModelForMaskedLM.from_pretrained(tmp_path / "m").eval()
    logits = hf_model(inputs=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    ours = model({"input_ids": batch["input_ids"], "keep_mask": batch["attention_mask"].bool()})
    length = ours.shape[1]
    torch.testing.assert_close(ours, logits[:, :length], rtol=0, atol=1e-4 * float(logits.square().mean().sqrt()))


@pytest.mark.parametrize("kind", FAMILIES)
def test_every_field_is_written(tmp_path: Path, kind: str) -> None:
    hf_model = FAMILIES[kind]().model()
    save_hf_folder(from_transformers(hf_model), tmp_path / "m")
    written = json.loads((tmp_path / "m" / "config.json").read_text())
    assert written["model_type"] == "perceiver"
    assert written["architectures"] == [type(hf_model).__name__]
    # All that such a model is made of, apart from what only other models read.
    before, after = hf_model.config.to_dict(), transformers.PerceiverConfig.from_pretrained(tmp_path / "m").to_dict()
    unread = {"architectures", "dtype"} | (_TEXT_FIELDS if not kind.startswith("text") else set())
    if kind not in ("text-classes", "image-pixels", "image-conv1x1", "image-conv", "multimodal"):
        unread |= {"id2label", "label2id"}
    assert {key for key in before if key not in unread and before[key] != after[key]} == set()


_TEXT_FIELDS = {"d_model", "vocab_size", "max_position_embeddings"}


ORIGINAL: dict[str, list[str]] = {
    "text": ["encoder.empty_rows", "queries.mask_padding"],
    "text-classes": ["encoder.empty_rows"],
    "image-pixels": [],
    "image-conv1x1": ["decoder.query_residual"],
    "image-conv": ["inputs.same_padding"],
    "flow": ["outputs.scale"],
    "multimodal": [],
}


@pytest.mark.parametrize("kind", ORIGINAL)
def test_what_transformers_computes_otherwise_is_refused(tmp_path: Path, kind: str) -> None:
    family: Family = FAMILIES[kind]()
    family.model().save_pretrained(tmp_path / "a")
    model = open_source(tmp_path / "a", numerics="original").model
    lines = unlike_transformers(model)
    assert [line.split(" is ")[0] for line in lines] == ORIGINAL[kind]
    if not lines:
        save_hf_folder(model, tmp_path / "b")
    else:
        with pytest.raises(ValueError, match=rf"computes otherwise: {ORIGINAL[kind][0]} is "):
            save_hf_folder(model, tmp_path / "b")
        assert not (tmp_path / "b").exists()
        save_hf_folder(model, tmp_path / "b", exact=False)
    # The weights are the same, and so is the model when it is read as the original again.
    again = open_source(tmp_path / "b", numerics="original").model
    assert again.config == model.config
    assert all(torch.equal(own_tensors(again)[name], tensor) for name, tensor in own_tensors(model).items())


def test_what_transformers_has_no_model_of_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="transformers has no model image-patches -> label"):
        save_hf_folder(seeded_model(tiny_config(), 0), tmp_path / "m", exact=False)
    config = from_transformers(FAMILIES["text"]().model()).config
    wide = replace(config, decoder=replace(config.decoder, qk_channels=8))
    with pytest.raises(ValueError, match=r"decoder.cross_attend.attention.query.weight: \(8, 16\), the model has"):
        save_hf_folder(PerceiverIO(wide), tmp_path / "m", exact=False)
    assert list(tmp_path.iterdir()) == []


def test_ways_of_fitting_that_transformers_lacks(tmp_path: Path) -> None:
    model = from_transformers(FAMILIES["image-pixels"]().model())
    with pytest.raises(ValueError, match=r"cannot bring images to \(224, 224\) by 'pad'"):
        save_hf_folder(model, tmp_path / "m", {"fit": "pad"})
    save_hf_folder(model, tmp_path / "m", {"fit": "pad"}, exact=False)
    assert not (tmp_path / "m" / "preprocessor_config.json").exists()
    for fit in ("crop", "stretch", "center", "center-transformers"):
        save_hf_folder(model, tmp_path / fit, {"fit": fit})
        task = open_source(tmp_path / fit).task
        assert task is not None
        assert task["fit"] == ("center-transformers" if fit == "center" else fit)


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    model = from_transformers(FAMILIES["flow"]().model())
    folder = tmp_path / "deep" / "model"
    save_hf_folder(model, folder)
    before = (folder / "model.safetensors").read_bytes()
    with torch.no_grad():
        model.encoder.latents.add_(1)
    with pytest.raises(ValueError, match=r"is not empty \(config.json\)"):
        save_hf_folder(model, folder)
    assert (folder / "model.safetensors").read_bytes() == before
    save_hf_folder(model, folder, overwrite=True)
    assert torch.equal(open_source(folder).model.encoder.latents, model.encoder.latents)
    (folder / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match=r"holds more than a model \(thesis.tex\)"):
        save_hf_folder(model, folder, overwrite=True)
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(ValueError, match="is a file; the model needs a folder"):
        save_hf_folder(model, file, overwrite=True)
    assert sorted(path.name for path in folder.parent.iterdir()) == ["model"]


def test_a_failed_write_leaves_the_old_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = from_transformers(FAMILIES["flow"]().model())
    save_hf_folder(model, tmp_path / "m")
    before = {path.name: path.read_bytes() for path in (tmp_path / "m").iterdir()}
    rename = place.os.rename
    for fails_at in range(2):
        calls = iter(range(10))

        def failing(old: Any, new: Any, calls: Any = calls, fails_at: int = fails_at) -> None:
            if next(calls) == fails_at:
                raise OSError("disk gone")
            rename(old, new)

        monkeypatch.setattr(place.os, "rename", failing)
        with pytest.raises(OSError, match="disk gone"):
            save_hf_folder(model, tmp_path / "m", overwrite=True)
        assert {path.name: path.read_bytes() for path in (tmp_path / "m").iterdir()} == before
        assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_released_models_can_be_described() -> None:
    """Which of the released models `transformers` computes as the original did, given the right `hidden_act`."""
    expected = {
        "language": ["encoder.empty_rows", "queries.mask_padding"],
        "image-fourier": [],
        "image-learned": ["decoder.query_residual"],
        "image-conv": ["inputs.same_padding"],
        "optical-flow": ["outputs.scale"],
        "video-autoencoding": [],
    }
    for name, paths in expected.items():
        with torch.device("meta"):
            model = PerceiverIO(ZOO[name].config)
        assert [line.split(" is ")[0] for line in unlike_transformers(model)] == paths
