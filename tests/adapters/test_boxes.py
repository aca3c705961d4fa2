"""Queries with a place, and boxes told from there."""

import dataclasses

import pytest
import torch

from model_examples import example_batch, model_around, seeded
from perceivers.adapters.boxes import AnchorQueryConfig, BoxOutputConfig, grid_places
from perceivers.adapters.label import LabelInputConfig, NoQueryConfig


def test_places_are_the_middles_of_the_cells() -> None:
    places = grid_places((2, 4), torch.empty(0)).sigmoid()
    expected = [[x, y] for y in (0.25, 0.75) for x in (0.125, 0.375, 0.625, 0.875)]
    torch.testing.assert_close(places, torch.tensor(expected))


def test_untrained_boxes_lie_about_their_places() -> None:
    model = seeded(model_around(queries=AnchorQueryConfig.example(), outputs=BoxOutputConfig.example())).eval()
    with torch.no_grad():
        for parameter in model.outputs.boxes[-1].parameters():
            parameter.zero_()
        boxes = model(example_batch(model))["boxes"]
    torch.testing.assert_close(boxes[0, :, :2], grid_places((6, 5), boxes).sigmoid())


def test_answers_have_names_when_all_were_asked() -> None:
    model = seeded(model_around(outputs=BoxOutputConfig.example())).eval()
    answers = model(example_batch(model))
    assert answers["scores"].shape == (2, 3, 4)
    assert answers["boxes"].shape == (2, 3, 4)
    assert ((answers["boxes"] > 0) & (answers["boxes"] < 1)).all()


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"num_channels \(2\) must be greater than 2"):
        seeded(model_around(queries=AnchorQueryConfig(num_channels=2)))
    model = seeded(model_around(inputs=LabelInputConfig.example(), queries=AnchorQueryConfig.example()))
    with pytest.raises(ValueError, match=r"'anchors' queries need tokens on a grid of two axes, not \(1,\)"):
        model(example_batch(model))
    model = seeded(dataclasses.replace(model_around(queries=NoQueryConfig()), outputs=BoxOutputConfig.example()))
    with pytest.raises(ValueError, match="'boxes' outputs need queries of at least 2 channels"):
        model(example_batch(model))
