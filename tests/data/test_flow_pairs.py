"""Pairs of frames with flow: the usual layouts, tables, and what is refused."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from perceivers.data import DataConfig, DataError, Splits, load_data
from perceivers.processing.flow import read_flow, write_flow

SHARED = Path(__file__).parents[3] / "shared" / "data" / "optical_flow"
ROLES = ("frame1", "frame2", "flow")


def load(source: Path, **fields: Any) -> Splits:
    return load_data(DataConfig(source=str(source), **fields), ROLES)


def write_frame(path: Path, size: tuple[int, int] = (6, 8)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (size[1], size[0])).save(path)


def write_motion(path: Path, size: tuple[int, int] = (6, 8)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_flow(path, np.ones((*size, 2), dtype=np.float32))


def write_chairs(folder: Path, count: int = 5, suffix: str = ".flo") -> None:
    for i in range(count):
        for part in ("img1", "img2"):
            write_frame(folder / f"{i:03}_{part}.ppm")
        write_motion(folder / f"{i:03}_flow{suffix}")


def write_sintel(folder: Path, scenes: dict[str, int], passes: tuple[str, ...] = ("clean", "final")) -> None:
    for scene, count in scenes.items():
        for i in range(1, count + 1):
            for name in passes:
                write_frame(folder / name / scene / f"frame_{i:04}.png")
            if i < count:
                write_motion(folder / "flow" / scene / f"frame_{i:04}.flo")


def write_kitti(folder: Path, frames: str = "image_2", count: int = 5) -> None:
    for i in range(count):
        for end in ("10", "11"):
            write_frame(folder / frames / f"{i:06}_{end}.png")
        write_motion(folder / "flow_occ" / f"{i:06}_10.png")


def refused(folder: Path, *parts: str, **fields: Any) -> None:
    with pytest.raises(DataError) as error:
        load(folder, **fields)
    assert [part for part in parts if part not in str(error.value)] == [], str(error.value)


@pytest.mark.parametrize("suffix", [".flo", ".npy", ".png"])
def test_chairs(tmp_path: Path, suffix: str) -> None:
    write_chairs(tmp_path, suffix=suffix)
    splits = load(tmp_path)
    assert splits.train.column_names == list(ROLES)
    assert (len(splits.train), len(splits.eval), splits.held_out) == (4, 1, True)
    row = splits.eval[0]
    name = Path(row["flow"]).name.split("_")[0]
    assert row == {
        "frame1": str(tmp_path / f"{name}_img1.ppm"),
        "frame2": str(tmp_path / f"{name}_img2.ppm"),
        "flow": str(tmp_path / f"{name}_flow{suffix}"),
    }


def test_chairs_in_split_folders(tmp_path: Path) -> None:
    write_chairs(tmp_path / "train", 3)
    write_chairs(tmp_path / "test", 2)
    # The same flow in two formats is one flow.
    write_motion(tmp_path / "test" / "001_flow.npy")
    (tmp_path / "README.txt").write_text("Where it is from.")
    splits = load(tmp_path)
    assert (len(splits.train), len(splits.eval), splits.held_out) == (3, 2, False)
    assert splits.eval["flow"][1].endswith("001_flow.flo")
    refused(tmp_path, "no subset 'clean'", subset="clean")


def test_a_folder_named_from_where_one_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_chairs(tmp_path / "data" / "pairs")
    monkeypatch.chdir(tmp_path)
    assert set(load(Path("data/pairs")).train["flow"]) <= {str(p) for p in (tmp_path / "data/pairs").glob("*.flo")}


@pytest.mark.parametrize("inner", ["training", "."])
def test_sintel_holds_whole_scenes_out(tmp_path: Path, inner: str) -> None:
    write_sintel(tmp_path / inner, {"alley_1": 4, "cave_2": 4, "market_3": 4})
    splits = load(tmp_path)
    assert (len(splits.train), len(splits.eval)) == (12, 6)
    scenes = [{Path(name).parent.name for name in part["frame1"]} for part in (splits.train, splits.eval)]
    assert len(scenes[1]) == 1
    assert not scenes[0] & scenes[1]
    row = splits.eval[0]
    (scene,) = scenes[1]
    assert row["frame1"] == str(tmp_path / inner / "clean" / scene / "frame_0001.png")
    assert row["frame2"] == str(tmp_path / inner / "clean" / scene / "frame_0002.png")
    assert row["flow"] == str(tmp_path / inner / "flow" / scene / "frame_0001.flo")
    assert splits.train.column_names == list(ROLES)


def test_a_pass_of_sintel_is_a_subset(tmp_path: Path) -> None:
    write_sintel(tmp_path / "training", {"alley_1": 6})
    splits = load(tmp_path, subset="final")
    names = [*splits.train["frame1"], *splits.eval["frame1"]]
    assert len(names) == 5
    assert all("final" in name for name in names)
    refused(tmp_path, "no subset 'albedo'", "['clean', 'final']", subset="albedo")


@pytest.mark.parametrize("frames", ["image_2", "colored_0", "image_0"])
def test_kitti(tmp_path: Path, frames: str) -> None:
    write_kitti(tmp_path / "training", frames)
    splits = load(tmp_path)
    assert (len(splits.train), len(splits.eval)) == (4, 1)
    row = splits.train[0]
    assert Path(row["frame1"]).parent.name == frames
    assert row["frame2"] == row["frame1"].replace("_10", "_11")
    assert Path(row["flow"]).parts[-2:] == ("flow_occ", Path(row["frame1"]).name)
    refused(tmp_path, "no subset 'flow_noc'", "['flow_occ']", subset="flow_noc")


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_tables_name_files_beside_them(tmp_path: Path, kind: str) -> None:
    write_chairs(tmp_path / "pairs", 5)
    rows = [[f"pairs/{i:03}_{part}" for part in ("img1.ppm", "img2.ppm", "flow.flo")] for i in range(5)]
    if kind == "csv":
        text = "\n".join(["frame1,frame2,motion", *(",".join(row) for row in rows)])
    else:
        text = "\n".join('{{"frame1": "{}", "frame2": "{}", "motion": "{}"}}'.format(*row) for row in rows)
    (tmp_path / f"all.{kind}").write_text(text)
    splits = load(tmp_path / f"all.{kind}", columns={"flow": "motion"})
    assert (len(splits.train), len(splits.eval)) == (4, 1)
    assert read_flow(splits.train[0]["flow"]).flow.shape == (6, 8, 2)
    (tmp_path / "pairs" / "003_img2.ppm").unlink()
    refused(tmp_path / f"all.{kind}", f"all.{kind}, line", "003_img2.ppm does not exist", columns={"flow": "motion"})


@pytest.mark.parametrize(
    ("lost", "parts"),
    [
        ("002_img1.ppm", ["first frame", "002_img1", "002_flow.flo"]),
        ("002_img2.ppm", ["second frame", "002_img2", "002_img1.ppm"]),
        ("002_flow.flo", ["flow", "002_flow", "002_img1.ppm"]),
    ],
)
def test_a_missing_partner_is_named(tmp_path: Path, lost: str, parts: list[str]) -> None:
    write_chairs(tmp_path)
    (tmp_path / lost).unlink()
    refused(tmp_path, "is missing", *parts)


def test_files_that_would_be_passed_over_are_refused(tmp_path: Path) -> None:
    write_chairs(tmp_path)
    write_frame(tmp_path / "003_img1.png")
    refused(tmp_path, "003_img1", "a second file")
    (tmp_path / "003_img1.png").unlink()
    write_frame(tmp_path / "003_left.png")
    refused(tmp_path, "003_left.png", "move it away")


@pytest.mark.parametrize("lost", ["clean/alley_1/frame_0003.png", "flow/alley_1/frame_0002.flo"])
def test_a_missing_file_of_sintel(tmp_path: Path, lost: str) -> None:
    write_sintel(tmp_path, {"alley_1": 4})
    (tmp_path / lost).unlink()
    refused(tmp_path, str(tmp_path / lost), "is missing")


@pytest.mark.parametrize("lost", ["image_2/000001_10.png", "image_2/000001_11.png", "flow_occ/000001_10.png"])
def test_a_missing_file_of_kitti(tmp_path: Path, lost: str) -> None:
    write_kitti(tmp_path)
    (tmp_path / lost).unlink()
    refused(tmp_path, str(tmp_path / lost), "is missing")


def test_kitti_without_frames(tmp_path: Path) -> None:
    write_motion(tmp_path / "flow_occ" / "000000_10.png")
    refused(tmp_path, "image_2")


def test_sizes_must_agree(tmp_path: Path) -> None:
    write_chairs(tmp_path)
    write_frame(tmp_path / "001_img2.ppm", (8, 6))
    refused(tmp_path, "001_flow.flo: the second frame", "has 8 x 6 pixels", "has 6 x 8")
    write_frame(tmp_path / "001_img2.ppm")
    write_motion(tmp_path / "001_flow.flo", (7, 8))
    refused(tmp_path, "001_flow.flo: the flow", "has 7 x 8 pixels")


@pytest.mark.parametrize("suffix", [".flo", ".png", ".npy", ".npz"])
def test_broken_flows_are_named(tmp_path: Path, suffix: str) -> None:
    write_chairs(tmp_path)
    (tmp_path / "001_flow.flo").rename(tmp_path / f"001_flow{suffix}")
    (tmp_path / f"001_flow{suffix}").write_bytes(b"PIEH no flow at all, of no size")
    refused(tmp_path, f"001_flow{suffix} cannot be read")


def test_arrays_of_another_form_are_refused(tmp_path: Path) -> None:
    write_chairs(tmp_path)
    np.savez(tmp_path / "001_flow.npz", flow_x64=np.zeros((2, 6, 8), np.int16))
    (tmp_path / "001_flow.flo").unlink()
    assert len(load(tmp_path).train) == 4
    np.savez(tmp_path / "001_flow.npz", flow_x64=np.zeros((6, 8, 2), np.int16))
    refused(tmp_path, "001_flow.npz", "(6, 8, 2)")
    np.savez(tmp_path / "001_flow.npz", flow=np.zeros((2, 6, 8), np.int16))
    refused(tmp_path, "001_flow.npz", "flow_x64")


def test_a_truncated_flow_is_refused(tmp_path: Path) -> None:
    write_chairs(tmp_path)
    path = tmp_path / "001_flow.flo"
    path.write_bytes(path.read_bytes()[:-4])
    refused(tmp_path, "001_flow.flo", "392 bytes", "6 x 8 pixels need 396")


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_photo_on_its_side_has_the_size_that_is_seen(tmp_path: Path, suffix: str) -> None:
    write_chairs(tmp_path)
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "001_img1.ppm").unlink()
    Image.new("RGB", (6, 8)).save(tmp_path / f"001_img1{suffix}", exif=exif)
    assert len(load(tmp_path).train) == 4


def test_frames_are_checked_by_their_headers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_sintel(tmp_path, {"alley_1": 4})

    def decode(self: Image.Image) -> None:
        raise AssertionError(f"{self} is decoded")

    monkeypatch.setattr(PngImageFile, "load", decode)
    assert len(load(tmp_path).train) == 5


def test_a_folder_without_pairs(tmp_path: Path) -> None:
    refused(tmp_path, str(tmp_path), "NAME_img1", "MPI-Sintel", "train.csv")
    write_frame(tmp_path / "a.png")
    refused(tmp_path, "NAME_img1")


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the shared data beside the repository")
def test_shared_pairs() -> None:
    splits = load(SHARED / "warped_pairs")
    assert (len(splits.train), len(splits.eval), splits.held_out) == (44, 13, False)
    for row in splits.eval:
        height, width = read_flow(row["flow"]).flow.shape[:2]
        with Image.open(row["frame1"]) as frame:
            assert frame.size == (width, height)
    assert re.search(r"44 training and 13 evaluation", splits.description)
