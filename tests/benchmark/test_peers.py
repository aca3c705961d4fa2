"""What peers are given: the same weights and inputs, where they are `transformers`; the same sizes for the others."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from perceivers.benchmark import Case, peer_transformers
from perceivers.benchmark.cases import _TEXT_CLASSIFIER, WORKLOADS
from perceivers.benchmark.inputs import example, task_of
from perceivers.benchmark.libraries import PEERS
from perceivers.benchmark.ours import make

# The port's GELU is the exact one, ours an approximation: answers agree to about a thousandth.
CLOSE = 2e-2

_SMALL = {"encoder.num_latents": 8, "encoder.num_layers_per_block": 1, "encoder.num_blocks": 1}
_CLIP = {
    "inputs.inputs.video.image_size": [16, 16],
    "inputs.inputs.video.positioned.positions.max_resolution": [16, 4, 4],
    "inputs.inputs.audio.num_samples": 256,
    "inputs.inputs.audio.positioned.positions.max_resolution": [256],
    "queries.queries.video.grid_shape": [16, 4, 4],
    "queries.queries.video.positions.max_resolution": [16, 4, 4],
    "queries.queries.audio.grid_shape": [16],
    "queries.queries.audio.positions.max_resolution": [256],
}
_TILE = {"inputs.image_size": [24, 28], "inputs.positioned.positions.max_resolution": [24, 28]}
# What the port computes in its own way, whatever it is told.
_PORT: dict[str, dict[str, Any]] = {
    "flow": {"outputs.scale": 0.01},
    "image-learned": {"decoder.query_residual": True},
    "image-conv": {"inputs.same_padding": False},
}
CHANGES: dict[str, dict[str, Any]] = {
    "video": _CLIP,
    "flow": _TILE,
    "fill-mask": {},
    "text": {},
    "image-fourier": {"inputs.image_size": [16, 16]},
    "image-learned": {"inputs.image_size": [16, 16]},
    "image-conv": {"inputs.image_size": [32, 32]},
}


def small(name: str, changes: dict[str, Any] | None = None, **fields: Any) -> Case:
    """Return a workload with few latents, layers and inputs."""
    changes = {**CHANGES.get(name, {}), **(changes or {}), **_SMALL}
    return replace(WORKLOADS[name], changes=changes, length=20, **fields)


def difference(ours: Tensor, theirs: Tensor) -> float:
    assert ours.shape == theirs.shape
    return float((ours - theirs).abs().max() / ours.square().mean().sqrt())


@pytest.mark.parametrize("name", CHANGES)
def test_transformers_gets_the_same_weights_and_inputs(name: str) -> None:
    pytest.importorskip("transformers")
    case = small(name, _PORT.get(name))
    ours = make(case).once()
    if name == "video":
        hf_model = peer_transformers._model(case)
        batch, _ = example(case, task_of(case))
        points = {"image": torch.arange(256), "audio": torch.arange(16), "label": None}
        inputs = {**peer_transformers._inputs(case, batch), "subsampled_output_points": points}
        theirs = peer_transformers._answer(hf_model, inputs)
        assert difference(ours["video"].reshape(1, 256, 3), theirs["image"]) < CLOSE
        assert difference(ours["audio"], theirs["audio"]) < CLOSE
        return
    theirs = peer_transformers.make(case).once()
    if name == "text":
        theirs = theirs[:, :20]
    if name == "fill-mask":
        # The port's tokenizer adds two ids, so that only the form can be compared.
        assert (ours.shape, theirs.shape) == ((1, 12, 262), (1, 2048, 262))
        return
    assert difference(ours, theirs) < CLOSE


def test_chunks_of_a_clip_are_extrapolated() -> None:
    pytest.importorskip("transformers")
    run = peer_transformers.make(small("video"))
    assert run.times == 64
    assert run.note == "transformers: 2 of 128 chunks timed and extrapolated; each runs the whole model"
    whole = peer_transformers.make(small("video", chunks=1, timed_chunks=1))
    assert (whole.times, whole.note) == (1, "")
    whole.once()


def test_a_step_of_training_moves_both() -> None:
    pytest.importorskip("transformers")
    case = small("train-text", _TEXT_CLASSIFIER, batch_size=2)
    make(case).once()
    peer_transformers.make(case).once()


@pytest.mark.parametrize("name", CHANGES)
def test_errors_are_small_and_not_nothing(name: str) -> None:
    run = make(small(name))
    assert run.error is not None
    answers = run.once()
    error = run.error(answers)
    assert 0 < error < 3e-5
    wrong = {key: value * 1.01 for key, value in answers.items()} if isinstance(answers, dict) else answers * 1.01
    assert run.error(wrong) > 0.01


def test_weights_are_those_of_seed_and_scale() -> None:
    cases = [small("image-fourier"), small("image-fourier", seed=1), small("image-fourier", weight_scale=3.0)]
    answers = [make(case).once() for case in cases]
    assert torch.equal(answers[0], make(small("image-fourier")).once())
    assert not torch.equal(answers[0], answers[1])
    assert not torch.equal(answers[0], answers[2])


@pytest.mark.parametrize(
    ("peer", "name"),
    [
        ("perceiver-io", "image-fourier"),
        ("perceiver-io", "text"),
        ("perceiver-io", "fill-mask"),
        ("perceiver-io", "train-text"),
        ("perceiver-pytorch", "image-fourier"),
        ("perceiver-pytorch", "text"),
    ],
)
def test_other_peers_run_at_the_same_sizes(peer: str, name: str) -> None:
    library = PEERS[peer]
    pytest.importorskip(library.module)
    from perceivers.benchmark import peer_perceiver_io, peer_perceiver_pytorch

    case = small(name, _TEXT_CLASSIFIER if name == "train-text" else None)
    maker = {"perceiver-io": peer_perceiver_io.make, "perceiver-pytorch": peer_perceiver_pytorch.make}[peer]
    run = maker(case)
    assert library.runs(case)
    answers = run.once()
    if name == "image-fourier":
        assert answers.reshape(-1).shape == (1000,)
    elif name != "train-text":
        assert answers.shape[-1] == 262
    assert peer in run.note
