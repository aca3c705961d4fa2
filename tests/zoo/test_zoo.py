import dataclasses
import json

import pytest
import torch

from golden_models import FULL_SIZE_GOLDENS, Golden, config_of
from perceivers.adapters.flow import FlowInputConfig
from perceivers.adapters.image import ImageInputConfig
from perceivers.config import from_json, to_json
from perceivers.model import PerceiverConfig, PerceiverIO
from perceivers.planning import count
from perceivers.tasks import TASKS
from perceivers.zoo import ZOO, find_spec, label_names, models

# The released models, as counted from the original's checkpoints.
COUNTS = {
    "language": 201_108_230,
    "image-fourier": 48_440_627,
    "image-learned": 62_255_848,
    "image-conv": 48_646_522,
    "optical-flow": 41_057_134,
    "video-autoencoding": 19_858_855,
}
GOLDENS = {
    "language": "mlm",
    "image-fourier": "imagenet_fourier",
    "image-learned": "imagenet_learned",
    "image-conv": "imagenet_conv",
    "optical-flow": "optical_flow",
    "video-autoencoding": "video_autoencoding_chunk0",
}
SMALL = [name for name in ZOO if name not in COUNTS]


@pytest.mark.parametrize("name", COUNTS)
def test_released_models_have_the_original_number_of_parameters(name: str) -> None:
    with torch.device("meta"):
        model = PerceiverIO(ZOO[name].config)
    assert sum(parameter.numel() for parameter in model.parameters()) == COUNTS[name]


@pytest.mark.shared
@pytest.mark.parametrize("name", GOLDENS)
def test_released_models_have_the_original_configs(name: str) -> None:
    path = FULL_SIZE_GOLDENS / f"{GOLDENS[name]}.npz"
    if not path.is_file():
        pytest.skip("the full-size golden files lie beside the repository only")
    config = ZOO[name].config
    if isinstance(config.inputs, ImageInputConfig | FlowInputConfig):
        # The goldens are given normalised images.
        inputs = dataclasses.replace(config.inputs, mean=(0.0,), std=(1.0,))
        config = dataclasses.replace(config, inputs=inputs)
    assert to_json(config) == to_json(config_of(Golden(path).recipe))


@pytest.mark.parametrize("name", ZOO)
def test_entries_are_complete(name: str) -> None:
    spec = ZOO[name]
    assert spec.name == name
    assert spec.summary
    assert spec.citation
    restored = from_json(PerceiverConfig, json.loads(json.dumps(to_json(spec.config))))
    assert restored == spec.config
    # The task accepts the model; these names can be labels, and tags too.
    if spec.task is None:
        return
    labels = ("O", "B-a")
    if "task" in TASKS[spec.task].roles:
        labels = tuple(f"one/{label}" for label in labels)
    TASKS[spec.task].fit(spec.config, labels, {})


@pytest.mark.parametrize("name", SMALL)
def test_small_models_run(name: str) -> None:
    model = PerceiverIO(ZOO[name].config)
    assert sum(parameter.numel() for parameter in model.parameters()) < 5_000_000
    with torch.no_grad():
        output = model.eval()(model.inputs.example_batch(2))
    for part in output.values() if isinstance(output, dict) else [output]:
        assert len(part) == 2
        assert part.isfinite().all()


def test_the_encoder_of_units_costs_what_the_paper_counts() -> None:
    # Table 9 of arXiv:2107.14795, for 512 units.
    assert count(ZOO["units"].config).flops == pytest.approx(0.93e9, rel=0.02)


def test_models_lists_the_zoo() -> None:
    assert [spec.name for spec in models()] == sorted(ZOO)
    assert set(COUNTS) < set(ZOO)


def test_every_task_has_a_default_model() -> None:
    for name in TASKS:
        if TASKS[name].__module__.startswith("perceivers."):
            assert ZOO[TASKS[name].default_model].task == name


def test_unknown_names_are_refused_with_the_choices() -> None:
    with pytest.raises(ValueError, match=r"model 'vgg' not found; choices = .*'image-fourier'"):
        ZOO["vgg"]


def test_no_weights_are_claimed_for_small_models() -> None:
    assert {name for name in ZOO if ZOO[name].licence is not None and not ZOO[name].bundled} == set(COUNTS)


@pytest.mark.parametrize("name", COUNTS)
def test_released_models_are_found_by_both_names(name: str) -> None:
    spec = ZOO[name]
    assert spec.hub_id is not None
    assert find_spec(spec.hub_id) is find_spec(name) is spec
    assert spec.licence == "CC BY 4.0"
    assert "2107.14795" in spec.citation
    assert "2107.14795" in spec.bibtex


def test_what_the_zoo_lacks_is_not_found() -> None:
    with pytest.raises(ValueError, match=r"model 'deepmind/gato' not found; choices = "):
        find_spec("deepmind/gato")


@pytest.mark.parametrize(
    ("name", "count", "some"),
    [
        (
            "imagenet1k",
            1000,
            {0: "tench, Tinca tinca", 281: "tabby, tabby cat", 997: "bolete"},
        ),
        ("kinetics700", 700, {0: "abseiling", 699: "zumba"}),
    ],
)
def test_label_names_are_shipped(name: str, count: int, some: dict[int, str]) -> None:
    names = label_names(name)
    assert len(names) == count
    assert all(names)
    assert {i: names[i] for i in some} == some
    users = [spec for spec in models() if spec.labels == name]
    assert users
    assert label_names(name) is names


def test_unknown_label_lists_are_refused() -> None:
    with pytest.raises(ValueError, match=r"label list 'coco' not found; choices = \['imagenet1k', 'kinetics700'\]"):
        label_names("coco")
