"""Reading images from files, PIL and arrays, and fitting them to a model."""

import inspect
import re
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from golden_models import GOLDENS
from perceivers.processing import fit_image, read_image
from perceivers.processing.image import Fit, Interpolation

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8)


def test_files_pil_and_arrays_read_the_same(tmp_path: Path) -> None:
    Image.fromarray(COLOUR).save(tmp_path / "a.png")
    for source in (str(tmp_path / "a.png"), tmp_path / "a.png", Image.fromarray(COLOUR), COLOUR, COLOUR / 255):
        np.testing.assert_array_equal(read_image(source), COLOUR)


@pytest.mark.parametrize(("mode", "channels"), [("1", 1), ("L", 1), ("P", 3), ("RGB", 3), ("RGBA", 3), ("CMYK", 3)])
def test_every_mode_becomes_grey_or_rgb(mode: str, channels: int) -> None:
    image = read_image(Image.fromarray(COLOUR).convert(mode))
    assert image.shape == (6, 9, channels)
    assert image.dtype == np.uint8


def test_grey_arrays_get_a_channel() -> None:
    np.testing.assert_array_equal(read_image(COLOUR[..., 0]), COLOUR[..., :1])


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(COLOUR).save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "turned.png"), np.rot90(COLOUR, -1))


def test_sixteen_bits_in_a_png_are_as_bright_as_eight(tmp_path: Path) -> None:
    dim = COLOUR[..., :1] // 4 + 20
    Image.fromarray(dim[..., 0].astype(np.uint16) * 257).save(tmp_path / "deep.png")
    np.testing.assert_array_equal(read_image(tmp_path / "deep.png"), dim)


def test_addresses_of_the_web_are_not_fetched() -> None:
    for address in ("https://example.com/cat.jpg", Path("https://example.com/cat.jpg")):
        with pytest.raises(ValueError, match="does not exist: addresses of the web are not fetched"):
            read_image(address)


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    whole, cut, wrong = tmp_path / "whole.jpg", tmp_path / "cut.jpg", tmp_path / "wrong.png"
    Image.fromarray(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(whole)
    cut.write_bytes(whole.read_bytes()[:900])
    wrong.write_text("no image")
    for path in (cut, wrong, tmp_path / "absent.jpg", tmp_path):
        with pytest.raises(ValueError, match=re.escape(str(path))):
            read_image(path)


def test_a_broken_open_image_is_refused(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole.jpg", tmp_path / "cut.jpg"
    Image.fromarray(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(whole)
    cut.write_bytes(whole.read_bytes()[:900])
    with Image.open(cut) as image, pytest.raises(ValueError, match=r"cut\.jpg"):
        read_image(image)


def test_an_image_beyond_pillows_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(COLOUR).save(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(ValueError, match=r"bomb\.png"):
        read_image(tmp_path / "bomb.png")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (COLOUR.astype(np.int64), "int64"),
        (COLOUR.astype(np.float32), "floats must lie in"),
        (np.full((2, 2), np.nan), "nan"),
        (np.full((2, 2), -0.5), "-0.5"),
        (COLOUR.transpose(2, 0, 1), r"\(3, 6, 9\)"),
        (np.zeros((0, 4, 3), np.uint8), r"\(0, 4, 3\)"),
        (np.zeros(4, np.uint8), r"\(4,\)"),
    ],
)
def test_wrong_arrays_are_refused(array: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_image(array)


@pytest.mark.parametrize("interpolation", get_args(Interpolation))
@pytest.mark.parametrize("how", get_args(Fit))
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("shape", [(6, 9), (300, 2), (1, 1), (8, 8)])
def test_fit_gives_the_size_and_channels(
    how: Fit, interpolation: Interpolation, channels: int, shape: tuple[int, int]
) -> None:
    for source in (1, 3):
        fitted = fit_image(np.full((*shape, source), 7, np.uint8), (8, 5), channels, how, interpolation)
        assert fitted.shape == (8, 5, channels)
        assert fitted.dtype == np.uint8
        # A plain image stays plain, wherever the kernel reaches beyond the border.
        assert set(np.unique(fitted)) <= ({0, 7} if how == "pad" else {7})


def test_an_image_of_the_right_size_stays_as_it_is() -> None:
    np.testing.assert_array_equal(fit_image(COLOUR, (6, 9), 3), COLOUR)


def test_crop_keeps_the_middle_and_pad_keeps_all() -> None:
    image = np.zeros((4, 12, 1), np.uint8)
    image[:, 4:8] = 255
    assert (fit_image(image, (4, 4), 1, how="crop") == 255).all()
    padded = fit_image(np.full((4, 12, 1), 255, np.uint8), (12, 12), 1, how="pad")
    assert (padded[4:8] == 255).all()
    assert not padded[:4].any()
    assert not padded[8:].any()


@pytest.mark.parametrize("name", ["300x401", "180x231"])
def test_center_and_opencv_match_the_original(name: str) -> None:
    with np.load(GOLDENS / "imagenet_crop.npz") as golden:
        image, index, expected = (golden[f"imagenet_crop_{name}/{key}"] for key in ("in0", "idx", "val"))
    fitted = fit_image(image, (224, 224), 3, how="center", interpolation="opencv")
    np.testing.assert_array_equal(fitted.flatten()[index], expected)


def test_opencv_interpolation_is_bicubic_without_averaging() -> None:
    image = RNG.integers(0, 256, (37, 50, 3), dtype=np.uint8)
    for size in ((11, 80), (74, 9), (37, 51)):
        values = torch.from_numpy(image).double().permute(2, 0, 1)[None]
        expected = torch.nn.functional.interpolate(values, size, mode="bicubic", align_corners=False)
        fitted = fit_image(image, size, 3, how="stretch", interpolation="opencv")
        assert np.abs(fitted - expected[0].permute(1, 2, 0).clamp(0, 255).numpy()).max() <= 0.5 + 1e-9


@pytest.mark.parametrize("how", ["crop", "stretch", "pad"])
@pytest.mark.parametrize("size", [(7, 12), (40, 33), (90, 20)])
def test_pillow_interpolation_is_pillows(how: Fit, size: tuple[int, int]) -> None:
    image = RNG.integers(0, 256, (37, 50, 3), dtype=np.uint8)
    picture, wanted = Image.fromarray(image), (size[1], size[0])
    expected = {
        "crop": lambda: ImageOps.fit(picture, wanted, Image.Resampling.BICUBIC),
        "stretch": lambda: picture.resize(wanted, Image.Resampling.BICUBIC),
        "pad": lambda: ImageOps.pad(picture, wanted, Image.Resampling.BICUBIC),
    }[how]()
    np.testing.assert_array_equal(fit_image(image, size, 3, how), np.asarray(expected))


def test_center_takes_seven_eighths_of_the_shorter_side() -> None:
    image = np.zeros((16, 21, 1), np.uint8)
    image[1:15, 4:18] = np.arange(1, 15)[:, None]
    np.testing.assert_array_equal(fit_image(image, (14, 14), 1, how="center"), image[1:15, 4:18])
    # The same square is taken for a model of any size, also from an image that has it already.
    assert fit_image(image, (16, 21), 1, how="center").min() >= 1


@pytest.mark.parametrize("size", [(180, 231), (257, 333), (500, 375), (300, 400)])
def test_images_can_be_read_as_transformers_reads_them(size: tuple[int, int]) -> None:
    transformers = pytest.importorskip("transformers")
    image = RNG.integers(0, 256, (*size, 3), dtype=np.uint8)
    processor = transformers.PerceiverImageProcessor(do_rescale=False, do_normalize=False)
    expected = np.asarray(processor(image, return_tensors="np")["pixel_values"])[0].transpose(1, 2, 0)
    np.testing.assert_array_equal(fit_image(image, (224, 224), 3, "center-transformers"), expected)


def test_unknown_ways_are_refused() -> None:
    # The tests' checks of types would refuse these before the function itself.
    unchecked: Any = inspect.unwrap(fit_image)
    with pytest.raises(ValueError, match=r"how \('middle'\) must be one of .*'center-transformers'\]"):
        unchecked(COLOUR, (4, 4), 3, how="middle")
    with pytest.raises(ValueError, match=r"interpolation \('lanczos'\) must be one of \['pillow', 'opencv'\]"):
        unchecked(COLOUR, (4, 4), 3, interpolation="lanczos")


def test_colour_becomes_grey_by_luma_and_grey_three_equal_channels() -> None:
    luma = COLOUR.astype(float) @ [0.299, 0.587, 0.114]
    assert np.abs(fit_image(COLOUR, (6, 9), 1)[..., 0] - luma).max() <= 1
    rgb = fit_image(COLOUR[..., :1], (6, 9), 3)
    np.testing.assert_array_equal(rgb, np.repeat(COLOUR[..., :1], 3, axis=-1))


def test_fit_refuses_other_channels_and_sizes() -> None:
    with pytest.raises(ValueError, match=r"channels \(4\)"):
        fit_image(COLOUR, (4, 4), 4)
    with pytest.raises(ValueError, match=r"\(0, 4\)"):
        fit_image(COLOUR, (0, 4), 3)
