import subprocess
import sys
from collections import UserList
from pathlib import Path

import pytest
import torch

import perceivers


def test_every_public_name_is_there() -> None:
    names = dir(perceivers)
    assert len(names) == len(set(names))
    for name in perceivers.__all__:
        assert name in names
        assert getattr(perceivers, name) is not None


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="module 'perceivers' has no attribute 'transformer'"):
        perceivers.transformer  # noqa: B018


def test_importing_costs_nothing() -> None:
    code = "import sys, perceivers; print(sorted({'torch', 'datasets', 'transformers', 'kornia'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_front_page_story(tmp_path: Path) -> None:
    """Build, look at attention, save, load: what a first user types."""
    assert "digits-small" in [spec.name for spec in perceivers.models()]
    model = perceivers.build("digits-small", num_classes=3, seed=0).eval()
    assert isinstance(model, perceivers.PerceiverIO)
    batch = {"image": torch.randint(0, 256, (2, 8, 8, 1), dtype=torch.uint8)}
    with perceivers.record_attention(model, "encoder.cross_attends") as maps:
        scores = model(batch)
    assert scores.shape == (2, 3)
    weights = maps["encoder.cross_attends.0.attention"]
    assert weights.shape[2] == len(model.encoder.latents)
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(weights.shape[:3]))
    latents = model.encode(batch)
    assert isinstance(latents, perceivers.Latents)
    torch.testing.assert_close(model.decode(latents), scores)
    perceivers.save(model, tmp_path)
    assert torch.equal(perceivers.load(tmp_path)(batch), scores)
    with pytest.raises(ValueError, match="was saved without a task"):
        perceivers.pipeline(model=tmp_path)


def test_a_pipeline_is_saved_and_served(tmp_path: Path) -> None:
    task, rows = perceivers.TASKS["image-classification"].example()
    first = perceivers.Pipeline(task, perceivers.PerceiverIO(task.config))
    first.save(tmp_path)
    second = perceivers.pipeline("image-classification", tmp_path)
    image = rows[0]["image"]
    assert second(image) == first(image)
    for several in ([image, image], (image, image), UserList([image, image])):
        both = second(several, top_k=2)
        assert [[entry["label"] for entry in result] for result in both] == [[e["label"] for e in first(image)[:2]]] * 2
    assert second.picture(image).mode == "RGB"


def test_pipelines_say_what_they_want(tmp_path: Path) -> None:
    task, rows = perceivers.TASKS["image-classification"].example()
    served = perceivers.Pipeline(task, perceivers.PerceiverIO(task.config))
    served.save(tmp_path)
    with pytest.raises(ValueError, match=r"top_k \(0\) must be at least 1"):
        served(rows[0]["image"], top_k=0)
    with pytest.raises(ValueError, match="name a model"):
        perceivers.pipeline("text-classification")
    with pytest.raises(ValueError, match=r"task 'translation' not found; choices = .*'fill-mask'"):
        perceivers.pipeline("translation", tmp_path)
    with pytest.raises(ValueError, match="was trained for 'image-classification', not 'fill-mask'"):
        perceivers.pipeline("fill-mask", tmp_path)
