import random

import numpy as np
import pytest
import torch
from torch import Tensor

from perceivers.tasks.augment import AugmentConfig, ImageAugmenter, cutmix, mixup

ALL = AugmentConfig(rotate_degrees=15.0, shift=0.1, zoom=0.2, flip=True, randaugment_ops=2, mixup=0.2, cutmix=1.0)


def batch_of(count: int, channels: int = 3, size: int = 16) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (count, size, size, channels), dtype=torch.uint8, generator=generator)
    return {"image": image, "label": torch.arange(count) % 3}


def test_no_changes_return_the_batch_itself() -> None:
    batch = batch_of(4)
    assert ImageAugmenter(AugmentConfig(), 3)(batch) is batch


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("config", [ALL, AugmentConfig(randaugment_ops=15, randaugment_magnitude=29)])
def test_images_stay_images(config: AugmentConfig, channels: int) -> None:
    torch.manual_seed(0)
    batch = batch_of(6, channels)
    before = batch["image"].clone()
    augmenter = ImageAugmenter(config, 3)
    for _ in range(12):
        changed = augmenter(batch)
        assert changed["image"].shape == batch["image"].shape
        assert changed["image"].dtype == torch.float32
        assert changed["image"].min() >= 0
        assert changed["image"].max() <= 1
        assert not torch.equal(changed["image"], before / 255)
        if changed["label"].dim() == 2:
            torch.testing.assert_close(changed["label"].sum(dim=1), torch.ones(6))
    assert torch.equal(batch["image"], before)


def test_all_randomness_comes_from_torchs_generator() -> None:
    """A checkpoint could not restore any other; the same seed must repeat a run, a new augmenter included."""

    def run(other_seed: int) -> list[Tensor]:
        torch.manual_seed(7)
        random.seed(other_seed)
        np.random.seed(other_seed)
        augmenter = ImageAugmenter(ALL, 3)
        batches = [augmenter(batch_of(4, channels)) for channels in (3, 1) for _ in range(6)]
        return [tensor for batch in batches for tensor in batch.values()]

    first, second = run(0), run(1)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_making_the_operations_draws_nothing() -> None:
    state = torch.get_rng_state()
    assert len(ImageAugmenter(ALL, 3)._operations()) == 3
    assert torch.equal(torch.get_rng_state(), state)


def test_mixup_blends_in_proportion() -> None:
    black, white = torch.zeros(3, 1, 4, 4), torch.ones(3, 1, 4, 4)
    share = torch.tensor([0.0, 0.25, 1.0])
    mixed, given = mixup(black, white, share)
    torch.testing.assert_close(mixed.mean(dim=(1, 2, 3)), share)
    assert torch.equal(given, share)


def test_cutmix_pastes_a_box_of_the_share_it_returns() -> None:
    torch.manual_seed(0)
    count = 500
    black, white = torch.zeros(count, 2, 20, 30), torch.ones(count, 2, 20, 30)
    wanted = torch.rand(count)
    mixed, share = cutmix(black, white, wanted)
    torch.testing.assert_close(mixed.mean(dim=(1, 2, 3)), share)
    assert set(mixed.unique().tolist()) == {0.0, 1.0}
    for image in mixed[:50, 0]:
        rows, columns = image.any(dim=1), image.any(dim=0)
        # A box: every pixel where a pasted row meets a pasted column.
        assert torch.equal(image.bool(), rows[:, None] & columns[None])
    # Cut off at the edge it is smaller than wanted, never larger (but for whole pixels).
    assert float((share - wanted).max()) < 0.05
    whole = ~(mixed[:, 0, [0, -1]].any(dim=(1, 2)) | mixed[:, 0, :, [0, -1]].any(dim=(1, 2)))
    assert whole.any()
    torch.testing.assert_close(share[whole], wanted[whole], atol=0.05, rtol=0)
    nothing, share = cutmix(black, white, torch.zeros(count))
    assert not nothing.any()
    assert not share.any()


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
def test_targets_mix_like_the_images(name: str) -> None:
    """Class 0 is black and class 1 white, so the brightness of a mixed image is its share of class 1."""
    torch.manual_seed(0)
    augmenter = ImageAugmenter(AugmentConfig(**{name: 1.0}), 2)
    label = torch.arange(64) % 2
    image = (label * 255).to(torch.uint8)[:, None, None, None].expand(64, 8, 8, 3)
    mixed = augmenter({"image": image, "label": label})
    torch.testing.assert_close(mixed["label"].sum(dim=1), torch.ones(64))
    torch.testing.assert_close(mixed["image"].mean(dim=(1, 2, 3)), mixed["label"][:, 1])
    assert mixed["label"][:, 1].unique().numel() > 8
    # Each image keeps the larger part of neither: shares are spread over the whole of [0, 1].
    own = mixed["label"].gather(1, label[:, None])
    assert float(own.min()) < 0.3


def test_a_batch_gets_one_of_both() -> None:
    torch.manual_seed(0)
    augmenter = ImageAugmenter(AugmentConfig(mixup=1.0, cutmix=1.0), 2)
    label = torch.arange(16) % 2
    image = (label * 255).to(torch.uint8)[:, None, None, None].expand(16, 8, 8, 1)
    mixed = [augmenter({"image": image, "label": label})["image"] for _ in range(30)]
    # CutMix leaves black and white, mixup makes grey.
    assert 5 < sum(len(images.unique()) == 2 for images in mixed) < 25


def test_affine_changes_move_the_image() -> None:
    torch.manual_seed(0)
    image = torch.zeros(8, 16, 16, 1)
    image[:, 6:10, 6:10] = 1
    batch = {"image": image, "label": torch.zeros(8, dtype=torch.long)}
    shifted = ImageAugmenter(AugmentConfig(shift=0.25), 2)(batch)["image"]
    torch.testing.assert_close(shifted.sum(dim=(1, 2, 3)), torch.full((8,), 16.0), atol=1e-3, rtol=0)
    rows = torch.arange(16.0)[None, :, None, None]
    middle = (shifted * rows).sum(dim=(1, 2, 3)) / 16
    assert float(middle.std()) > 0.3
    zoomed = ImageAugmenter(AugmentConfig(zoom=0.3), 2)(batch)["image"].sum(dim=(1, 2, 3))
    assert float(zoomed.min()) < 15
    assert float(zoomed.max()) > 17
    flipped = ImageAugmenter(AugmentConfig(flip=True), 2)(batch_of(40, 1))["image"]
    original = batch_of(40, 1)["image"] / 255
    mirrored = [torch.equal(a, b.flip(1)) for a, b in zip(flipped, original, strict=True)]
    same = [torch.equal(a, b) for a, b in zip(flipped, original, strict=True)]
    assert all(a != b for a, b in zip(mirrored, same, strict=True))
    assert 8 < sum(mirrored) < 32


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("rotate_degrees", -1.0),
        ("mixup", -0.1),
        ("cutmix", -1.0),
        ("randaugment_ops", -1),
        ("shift", 1.5),
        ("zoom", 1.0),
    ],
)
def test_impossible_values_are_named(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"{field} \({value}\) must"):
        AugmentConfig(**{field: value})


@pytest.mark.parametrize("magnitude", [0, 30])
def test_the_strength_is_bounded(magnitude: int) -> None:
    with pytest.raises(ValueError, match=rf"randaugment_magnitude \({magnitude}\) must lie between 1 and 29"):
        AugmentConfig(randaugment_ops=1, randaugment_magnitude=magnitude)


def test_images_without_labels_are_changed_each_on_its_own() -> None:
    image = batch_of(4)["image"]
    augmenter = ImageAugmenter(AugmentConfig(mixup=0.2, flip=True), 3)
    torch.manual_seed(0)
    changed = augmenter({"image": image})
    assert set(changed) == {"image"}
    for before, after in zip(image / 255, changed["image"], strict=True):
        assert torch.equal(after, before) or torch.equal(after, before.flip(1))
