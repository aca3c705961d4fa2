"""Changes of pairs of frames: motion follows what is done to the frames."""

from typing import Any

import numpy as np
import pytest
import torch

from perceivers.tasks.flow_augment import FlowAugmentConfig, FlowAugmenter, enlarge, mirror
from perceivers.tasks.flow_sizes import resize_flow, resize_frames, resize_truth

HEIGHT, WIDTH = 24, 32


def shifted_pair() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return a smooth picture that moves by (2, -1), its motion, and where it is known."""
    y, x = torch.meshgrid(torch.arange(40.0), torch.arange(50.0), indexing="ij")
    picture = torch.stack([(x / 7).sin(), (y / 5).cos(), ((x + y) / 9).sin()], dim=-1) / 2 + 0.5
    frames = torch.stack([picture[8 : 8 + HEIGHT, 8 : 8 + WIDTH], picture[9 : 9 + HEIGHT, 6 : 6 + WIDTH]])[None]
    flow = torch.tensor([2.0, -1.0]).expand(1, HEIGHT, WIDTH, 2)
    return frames, flow, torch.ones(1, HEIGHT, WIDTH, dtype=torch.bool)


def fits(frames: torch.Tensor, flow: torch.Tensor, tolerance: float) -> bool:
    """Return whether the second frame, fetched by the motion, is the first one away from the border."""
    from perceivers.processing.flow_pictures import warp

    fetched, _ = warp(frames[0, 1].numpy(), flow[0].numpy())
    error = np.abs(fetched - frames[0, 0].numpy()).max(axis=-1)
    # Pixels at the border are extrapolated.
    places = np.indices(error.shape)
    inner = np.ones(error.shape, bool)
    for place in (places, places + np.moveaxis(flow[0].numpy()[..., ::-1], -1, 0)):
        for axis, end in enumerate(error.shape):
            inner &= (place[axis] >= 1.5) & (place[axis] <= end - 2.5)
    return bool(inner.mean() > 0.4 and error[inner].max() < tolerance)


def test_the_example_fits() -> None:
    frames, flow, _ = shifted_pair()
    assert fits(frames, flow, 1e-5)
    assert not fits(frames, -flow, 0.1)


@pytest.mark.parametrize("chosen", [(True, False), (False, True), (True, True), (False, False)])
def test_mirrored_pairs_have_mirrored_motion(chosen: tuple[bool, bool]) -> None:
    frames, flow, valid = shifted_pair()
    valid = valid.clone()
    valid[0, 3, 4] = False
    turned = mirror(frames, flow, valid, torch.tensor([chosen]))
    assert fits(turned[0], turned[1], 1e-5)
    assert turned[1][0, 0, 0].tolist() == [-2 if chosen[0] else 2, 1 if chosen[1] else -1]
    assert not turned[2][0, -4 if chosen[1] else 3, -5 if chosen[0] else 4]
    back = mirror(*turned, torch.tensor([chosen]))
    assert all(torch.equal(ours, first) for ours, first in zip(back, (frames, flow, valid), strict=True))


@pytest.mark.parametrize("zoom", [1.0, 1.3, 2.0])
def test_enlarged_pairs_move_farther(zoom: float) -> None:
    frames, flow, valid = shifted_pair()
    pictures, motion, known = enlarge(frames, flow, valid, torch.tensor([zoom]), torch.tensor([[0.4, -1.0]]))
    torch.testing.assert_close(motion[0, 5, 5], zoom * torch.tensor([2.0, -1.0]))
    assert fits(pictures, motion, 0.02)
    assert known.all()
    if zoom == 1:
        torch.testing.assert_close(pictures, frames)
    valid = valid.clone()
    valid[:, :, WIDTH // 2 :] = False
    known = enlarge(frames, flow, valid, torch.tensor([zoom]), torch.tensor([[-1.0, 0.0]]))[2]
    # The left half takes up so much more of the picture.
    assert int(known[0, 0].sum()) == pytest.approx(min(zoom * WIDTH / 2, WIDTH), abs=1)


def test_frames_at_another_size_move_by_other_pixels() -> None:
    frames, flow, valid = shifted_pair()
    small = resize_frames(frames, (12, 16))
    assert small.shape == (1, 2, 12, 16, 3)
    torch.testing.assert_close(resize_flow(flow, (12, 16)), torch.tensor([1.0, -0.5]).expand(1, 12, 16, 2))
    torch.testing.assert_close(resize_flow(flow, (24, 64))[0, 3, 3], torch.tensor([4.0, -1.0]))
    assert fits(small, resize_flow(flow, (12, 16)), 0.05)
    whole = (255 * frames).round().to(torch.uint8)
    torch.testing.assert_close(resize_frames(whole, (24, 32)), frames, atol=1 / 255, rtol=0)
    # What is not known has no say.
    broken = flow.clone()
    valid = valid.clone()
    valid[:, :, :9] = False
    broken[:, :, :9] = 1e6
    motion, known = resize_truth(broken, valid, (12, 16))
    assert known[0, 0].tolist() == [False] * 4 + [True] * 12
    torch.testing.assert_close(motion[known], torch.tensor([1.0, -0.5]).expand(144, 2))
    assert resize_truth(flow, valid, (24, 32))[0] is flow


def test_changes_are_random_by_pair_and_repeatable() -> None:
    frames, flow, valid = (part.expand(6, *part.shape[1:]) for part in shifted_pair())
    batch = {"frames": frames, "flow": flow, "valid": valid}
    augmenter = FlowAugmenter(FlowAugmentConfig(zoom=0.5, flip=True, flip_vertical=True, colour=0.3, noise=0.05))
    torch.manual_seed(0)
    first = augmenter(batch)
    torch.manual_seed(0)
    again = augmenter(batch)
    assert all(torch.equal(first[name], again[name]) for name in batch)
    assert len({tuple(motion.tolist()) for motion in first["flow"][:, 0, 0]}) > 3
    assert first["frames"].shape == frames.shape
    assert float(first["frames"].min()) >= 0
    assert float(first["frames"].max()) <= 1
    # Both frames change in much the same way.
    lit = FlowAugmenter(FlowAugmentConfig(colour=0.3))(batch)["frames"].mean(dim=(2, 3, 4))  # (B, 2)
    assert float((lit[:, 0] - lit[:, 1]).abs().mean()) < float(lit[:, 0].std())
    assert torch.equal(FlowAugmenter(FlowAugmentConfig(colour=0.3))(batch)["flow"], flow)


def test_no_change_is_none() -> None:
    frames, flow, valid = shifted_pair()
    batch = {"frames": frames, "flow": flow, "valid": valid}
    assert FlowAugmenter(FlowAugmentConfig())(batch) is batch


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"zoom": -0.1}, r"zoom \(-0.1\) must not be negative"),
        ({"colour": 1.0}, r"colour \(1.0\) must lie between 0 and 1"),
        ({"noise": -0.5}, r"noise \(-0.5\) must lie between 0 and 1"),
    ],
)
def test_impossible_changes_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FlowAugmentConfig(**fields)
