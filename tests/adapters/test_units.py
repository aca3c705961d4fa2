"""Sets of units: order, empty places, empty sets, types, and what is refused."""

from typing import Any

import pytest
import torch
from torch import Tensor

from model_examples import model_around, seeded
from perceivers.adapters.units import UnitInputConfig, UnitOutputConfig, UnitQueryConfig
from perceivers.model import PerceiverIO

PLAIN = UnitInputConfig(unit_channels=5, num_channels=8)


def set_model(inputs: UnitInputConfig | None = None) -> PerceiverIO:
    return seeded(
        model_around(
            inputs=inputs or UnitInputConfig.example(),
            queries=UnitQueryConfig.example(),
            outputs=UnitOutputConfig.example(),
        )
    ).eval()


def random_set(num_places: int = 12) -> dict[str, Tensor]:
    torch.manual_seed(3)
    return {
        "units": torch.randn(2, num_places, 5),
        "units_keep_mask": torch.rand(2, num_places) < 0.6,
        "unit_types": torch.randint(3, (2, num_places)),
    }


@torch.no_grad()
def test_units_that_change_places_take_their_embeddings_along() -> None:
    model, batch = set_model(), random_set()
    order = torch.randperm(12)
    first, second = model(batch), model({name: value[:, order] for name, value in batch.items()})
    torch.testing.assert_close(second["units"], first["units"][:, order], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(second["summary"], first["summary"], rtol=1e-5, atol=1e-6)
    # Not because all are the same.
    assert first["units"].std(dim=1).max() > 1e-3


@torch.no_grad()
def test_what_stands_in_an_empty_place_is_not_looked_at() -> None:
    model, batch = set_model(), random_set()
    hidden = ~batch["units_keep_mask"]
    nonsense = {
        **batch,
        "units": batch["units"].masked_fill(hidden[..., None], float("nan")),
        "unit_types": batch["unit_types"].masked_fill(hidden, 99),
    }
    first, second = model(batch), model(nonsense)
    assert torch.equal(first["units"], second["units"])
    assert torch.equal(first["summary"], second["summary"])
    assert not first["units"][hidden].any()
    assert first["units"][~hidden].any(dim=-1).all()


@torch.no_grad()
def test_empty_places_do_not_count() -> None:
    model, batch = set_model(PLAIN), {"units": torch.randn(2, 7, 5)}
    padded = {
        "units": torch.cat([batch["units"], torch.randn(2, 4, 5)], dim=1),
        "units_keep_mask": torch.arange(11).expand(2, -1) < 7,
    }
    first, second = model(batch), model(padded)
    torch.testing.assert_close(second["units"][:, :7], first["units"], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(second["summary"], first["summary"], rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_a_mask_that_hides_nothing_is_none() -> None:
    model, units = set_model(PLAIN), torch.randn(2, 7, 5)
    keep_mask = torch.ones(2, 7, dtype=torch.bool)
    first, second = model({"units": units}), model({"units": units, "units_keep_mask": keep_mask})
    assert torch.equal(first["units"], second["units"])


@torch.no_grad()
def test_empty_sets_are_all_the_same() -> None:
    model = set_model(PLAIN)
    no_places = model({"units": torch.zeros(2, 0, 5)})
    no_units = model({"units": torch.randn(2, 3, 5), "units_keep_mask": torch.zeros(2, 3, dtype=torch.bool)})
    assert no_places["units"].shape == (2, 0, 6)
    assert not no_units["units"].any()
    assert no_units["summary"].isfinite().all()
    torch.testing.assert_close(no_places["summary"], no_units["summary"], rtol=1e-5, atol=1e-6)
    # An empty set beside one that is not.
    batch = random_set()
    batch["units_keep_mask"][0] = False
    del batch["unit_types"]
    torch.testing.assert_close(model(batch)["summary"][0], no_units["summary"][0], rtol=1e-5, atol=1e-6)


def test_gradients_of_units_are_those_of_places_that_are_full() -> None:
    model, batch = set_model(), random_set()
    batch["units_keep_mask"][0] = False
    batch["units"].requires_grad_()
    found = model(batch)
    (found["units"].square().sum() + found["summary"].square().sum()).backward()
    grad = batch["units"].grad
    assert grad is not None
    assert grad.isfinite().all()
    assert torch.equal(grad.any(dim=-1), batch["units_keep_mask"])
    parameters = [parameter.grad for parameter in model.parameters()]
    assert all(one is not None and one.isfinite().all() for one in parameters)


@torch.no_grad()
def test_units_know_each_other() -> None:
    model, batch = set_model(PLAIN), {"units": torch.randn(1, 6, 5)}
    other = {"units": batch["units"].clone()}
    other["units"][0, 5] += 1.0
    changed = (model(batch)["units"] - model(other)["units"]).abs().amax(dim=-1)[0]
    assert (changed > 1e-7).all()


@torch.no_grad()
def test_output_0_is_that_of_the_set() -> None:
    model, batch = set_model(), random_set()
    latents, everything = model.encode(batch), model(batch)
    assert torch.allclose(model.decode(latents, where=torch.tensor([0]))[:, 0], everything["summary"], atol=1e-6)
    some = model.decode(latents, where=torch.tensor([5, 1]))
    assert torch.allclose(some, everything["units"][:, [4, 0]], atol=1e-6)


@torch.no_grad()
def test_types_add_their_embedding() -> None:
    inputs = seeded(model_around(inputs=UnitInputConfig.example())).inputs
    batch = random_set()
    del batch["units_keep_mask"]
    plain = inputs({**batch, "unit_types": torch.zeros(2, 12, dtype=torch.long)}).values
    tables = dict(inputs.named_parameters())["types"]
    torch.testing.assert_close(inputs(batch).values, plain + tables[batch["unit_types"]] - tables[0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"units": torch.zeros(2, 5)}, r"units of shape \(2, 5\) must be \(B, M, 5\)"),
        ({"units": torch.zeros(2, 12, 4)}, r"units of shape \(2, 12, 4\) must be \(B, M, 5\)"),
        ({"units_keep_mask": torch.ones(2, 3)}, r"units_keep_mask of shape \(2, 3\) must be \(B, M\) = \(2, 12\)"),
        ({"unit_types": torch.zeros(2, 3)}, r"unit_types of shape \(2, 3\) must be \(B, M\) = \(2, 12\)"),
        ({"unit_types": torch.zeros(2, 12)}, r"unit_types must be integers, not torch\.float32"),
        ({"unit_types": torch.full((2, 12), 3)}, r"unit_types has 3; types run from 0 to 2"),
        ({"unit_types": torch.full((2, 12), -1)}, r"unit_types has -1; types run from 0 to 2"),
    ],
)
def test_bad_batches_are_refused(changes: dict[str, Any], message: str) -> None:
    batch = random_set()
    batch["units_keep_mask"][:] = True
    with pytest.raises(ValueError, match=message):
        UnitInputConfig.example().build()({**batch, **changes})


def test_bad_configs_are_refused() -> None:
    with pytest.raises(ValueError, match=r"unit_channels \(0\) must be positive"):
        UnitInputConfig(unit_channels=0, num_channels=4)
    with pytest.raises(ValueError, match=r"num_types \(-1\) not negative"):
        UnitInputConfig(unit_channels=1, num_types=-1, num_channels=4)
