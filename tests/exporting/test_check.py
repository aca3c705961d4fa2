"""What a file gives against what the model gives."""

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn

from perceivers.exporting import Check
from perceivers.exporting.check import compare
from perceivers.exporting.interface import Part

EXPECTED = {"outputs.audio": torch.tensor([3.0, -4.0]), "outputs.video": torch.tensor([[1.0, 1.0]])}


class _Part(Part):
    """Of no model; gives the same whatever it is given."""

    def __init__(self) -> None:
        nn.Module.__init__(self)

    def example(self, sizes: Mapping[str, int]) -> dict[str, Tensor]:
        return {}

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        return EXPECTED


def check(found: dict[str, Tensor]) -> Check:
    return compare(_Part(), lambda inputs: found, {"batch": 1})


def test_the_largest_difference_counts_in_the_measure_of_its_output() -> None:
    found = {"outputs.audio": torch.tensor([3.0, -4.0 + 1e-4]), "outputs.video": EXPECTED["outputs.video"]}
    done = check(found)
    assert done.sizes == {"batch": 1}
    assert done.error == pytest.approx(1e-4 / 12.5**0.5, rel=0.01)


@pytest.mark.parametrize("name", EXPECTED)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.5])
def test_any_output_may_fail(name: str, value: float) -> None:
    found = {**EXPECTED, name: torch.full_like(EXPECTED[name], value)}
    with pytest.raises(ValueError, match=f"'{name}' of the file differs from the model's by .* at {{'batch': 1}}"):
        check(found)


def test_names_shapes_and_formats_are_the_models() -> None:
    with pytest.raises(ValueError, match=r"the file gives \['outputs.audio'\], the model \['outputs.audio', 'out"):
        check({"outputs.audio": EXPECTED["outputs.audio"]})
    for other in (torch.ones(1, 3), torch.ones(1, 2, dtype=torch.float64)):
        with pytest.raises(ValueError, match=r"'outputs.video' of the file is \(1, .\) torch.float"):
            check({**EXPECTED, "outputs.video": other})
