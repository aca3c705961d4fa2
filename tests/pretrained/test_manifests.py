"""Every name and shape of the original's six checkpoints, against our key tables."""

import gzip
import json

import pytest

from golden_models import FULL_SIZE_GOLDENS, GOLDENS
from perceivers.pretrained.haiku import haiku_shapes
from perceivers.zoo import ZOO

MODELS = {
    "language": "mlm",
    "image-fourier": "imagenet_fourier",
    "image-learned": "imagenet_learned",
    "image-conv": "imagenet_conv",
    "optical-flow": "optical_flow",
    "video-autoencoding": "video_autoencoding",
}


def manifests() -> dict[str, dict[str, list[int]]]:
    return json.loads(gzip.decompress((GOLDENS / "manifests.json.gz").read_bytes()))


@pytest.mark.parametrize("name", MODELS)
def test_released_models_have_the_tensors_of_the_original(name: str) -> None:
    expected = {key: tuple(shape) for key, shape in manifests()[MODELS[name]].items()}
    assert len(expected) > 100
    assert haiku_shapes(ZOO[name].config) == expected


@pytest.mark.shared
@pytest.mark.parametrize("name", MODELS.values())
def test_the_copies_of_the_manifests_are_right(name: str) -> None:
    path = FULL_SIZE_GOLDENS.parent / "manifests" / f"{name}.json"
    if not path.is_file():
        pytest.skip("the full-size golden files lie beside the repository only")
    entries = json.loads(path.read_text(encoding="utf-8"))["entries"]
    assert {f"{entry['module']}/{entry['name']}": entry["shape"] for entry in entries} == manifests()[name]
