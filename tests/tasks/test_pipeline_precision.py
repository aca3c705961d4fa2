"""Number formats of a pipeline: near the answers in float32, refused where the device has none."""

import numpy as np
import pytest

import perceivers
from perceivers.nn.linear import Linear
from perceivers.quantization import Int8Linear
from perceivers.tasks import TASKS
from perceivers.tasks.pipeline import Pipeline
from perceivers.zoo import ZOO

NAME = "image-small"
LABELS = [str(i) for i in range(10)]
IMAGE = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)


def classifier(precision: str) -> Pipeline:
    task = TASKS["image-classification"].fit(ZOO[NAME].config, LABELS, {})
    return Pipeline(task, perceivers.build(NAME, seed=0), precision=precision)


@pytest.mark.parametrize(("precision", "bound"), [("bf16", 0.05), ("int8", 0.2)])
def test_features_are_near_those_of_float32(precision: str, bound: float) -> None:
    exact, ours = (classifier(p).encode(IMAGE) for p in ("float32", precision))
    error = np.abs(ours - exact).max() / np.sqrt(np.square(exact).mean())
    assert 0 < error < bound
    assert len(classifier(precision)(IMAGE, top_k=3)) == 3


def test_int8_rounds_the_weights() -> None:
    modules = list(classifier("int8").model.encoder.modules())
    assert any(isinstance(module, Int8Linear) for module in modules)
    assert all(isinstance(module, Int8Linear) for module in modules if isinstance(module, Linear))


def test_other_precisions_are_refused() -> None:
    with pytest.raises(ValueError, match=r"precision 'bf8' not found; choices = \['float32', 'bf16', 'fp16', 'int8'\]"):
        classifier("bf8")
    with pytest.raises(ValueError, match="precision 'fp16' needs a GPU"):
        classifier("fp16")
