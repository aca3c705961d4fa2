"""Inputs to predict on: files, folders, stdin and text."""

from collections.abc import Iterator
from io import StringIO
from itertools import count
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from perceivers.data import DataError, predict_inputs


def test_images_of_files_and_folders(tmp_path: Path) -> None:
    (tmp_path / "b" / "c").mkdir(parents=True)
    paths = [tmp_path / "b" / "2.png", tmp_path / "b" / "c" / "1.JPG"]
    for path in paths:
        Image.new("L", (2, 2)).save(path)
    (tmp_path / "b" / "note.txt").write_text("no image")
    names = [str(path) for path in paths]
    assert list(predict_inputs([str(tmp_path / "b"), names[0]], "image")) == [(n, n) for n in [*names, names[0]]]


def test_a_folder_without_images(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no images"):
        list(predict_inputs([str(tmp_path)], "image"))


@pytest.mark.parametrize("name", ["a.txt", "notes.md"])
def test_lines_of_a_text_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("one\n\ntwo\x0c2\n", encoding="utf-8")
    assert list(predict_inputs([str(path)], "text")) == [(f"{path}:1", "one"), (f"{path}:3", "two\x0c2")]


def test_text_as_it_is() -> None:
    long = "long " * 2000
    assert list(predict_inputs(["hello there", long], "text")) == [("hello there", "hello there"), (long, long)]


def test_stdin() -> None:
    for lines in ("a\n\nb\n", "a\r\n\r\nb\r\n"):
        assert list(predict_inputs(["-"], "text", StringIO(lines, newline=""))) == [("a", "a"), ("b", "b")]


def write_image(path: Path, value: int = 0) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (16, 16), value).save(path)
    return str(path)


def write_clip(path: Path, count: int) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for i in range(count):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 40 * i, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return str(path)


def test_images_one_after_the_other_are_one_sequence(tmp_path: Path) -> None:
    names = [write_image(tmp_path / f"frame_{i}.png") for i in (3, 1, 2)]
    assert list(predict_inputs(names, "frames")) == [
        ("frame_3-frame_1", (names[0], names[1])),
        ("frame_1-frame_2", (names[1], names[2])),
    ]
    assert list(predict_inputs(["-"], "frames", StringIO("\n".join(names)))) == list(predict_inputs(names, "frames"))


def test_a_folder_of_frames_is_a_sequence_in_natural_order(tmp_path: Path) -> None:
    for name in ("2.png", "10.png", "1.png", "b2.png", "._3.png"):
        write_image(tmp_path / "a" / name)
    (tmp_path / "a" / "note.txt").write_text("no image")
    found = [name for name, _ in predict_inputs([str(tmp_path / "a")], "frames")]
    assert found == ["1-2", "2-10", "10-b2"]
    # A folder ends the sequence of images before it.
    names = [write_image(tmp_path / f"{name}.png") for name in "xyuv"]
    found = [name for name, _ in predict_inputs([*names[:2], str(tmp_path / "a"), *names[2:]], "frames")]
    assert found == ["x-y", "1-2", "2-10", "10-b2", "u-v"]


def test_a_video_is_a_sequence(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clips" / "ball.mp4", 4)
    items = list(predict_inputs([path], "frames"))
    assert [name for name, _ in items] == [f"ball_{i:04}-ball_{i + 1:04}" for i in range(3)]
    for i, (_, (first, second)) in enumerate(items):
        assert first.shape == second.shape == (32, 32, 3)
        assert abs(int(first.mean()) - 40 * i) < 6
        assert abs(int(second.mean()) - 40 * (i + 1)) < 6
    assert len(list(predict_inputs([str(tmp_path / "clips")], "frames"))) == 3


def test_a_video_is_decoded_while_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []

    def endless(path: Path) -> Iterator[int]:
        for i in count():
            read.append(i)
            yield i

    monkeypatch.setattr("perceivers.processing.video_frames.read_frames", endless)
    items = predict_inputs(["long.mp4"], "frames")
    assert [next(items), next(items)] == [("long_0000-long_0001", (0, 1)), ("long_0001-long_0002", (1, 2))]
    assert read == [0, 1, 2]


def test_one_frame_alone_is_refused(tmp_path: Path) -> None:
    image, folder = write_image(tmp_path / "a.png"), write_image(tmp_path / "b" / "only.png")
    for arguments, message in (
        ([image], r"a\.png: one image alone has no motion"),
        ([str(Path(folder).parent)], r"only\.png: one image alone"),
        ([image, str(Path(folder).parent)], r"a\.png: one image alone"),
        ([write_clip(tmp_path / "still.mp4", 1)], r"still\.mp4: one frame alone"),
    ):
        with pytest.raises(DataError, match=message):
            list(predict_inputs(arguments, "frames"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="neither images nor videos"):
        list(predict_inputs([str(tmp_path / "empty")], "frames"))


def test_videos_of_files_and_folders(tmp_path: Path) -> None:
    paths = [tmp_path / "b" / "1.MP4", tmp_path / "b" / "c" / "2.webm"]
    paths[1].parent.mkdir(parents=True)
    for path in paths:
        path.write_bytes(b"clip")
    (tmp_path / "b" / "note.txt").write_text("no video")
    names = [str(path) for path in paths]
    found = predict_inputs([str(tmp_path / "b"), names[0], "-"], "video", StringIO("other.mp4\n"))
    assert [name for name, _ in found] == [*names, names[0], "other.mp4"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="the folder has no videos"):
        list(predict_inputs([str(tmp_path / "empty")], "video"))


@pytest.mark.parametrize("role", ["text", "image", "frames", "video"])
def test_json_lines_are_mappings(tmp_path: Path, role: str) -> None:
    path = tmp_path / "all.jsonl"
    path.write_text('{"text": "Hello", "hide": "ell"}\n\n{"image": "a.png", "label": 3}\n')
    assert list(predict_inputs([str(path)], role)) == [
        (f"{path}:1", {"text": "Hello", "hide": "ell"}),
        (f"{path}:3", {"image": str(tmp_path / "a.png"), "label": 3}),
    ]
    path.write_text('{"text": "Hello"}\n["no", "object"]\n')
    with pytest.raises(DataError, match=r"all\.jsonl, line 2: must be an object"):
        list(predict_inputs([str(path)], role))


def test_nothing_to_predict_on() -> None:
    for arguments, why in (([], r"in \[\]"), ([""], "the text is empty"), (["-"], "standard input has no lines")):
        with pytest.raises(DataError, match=f"nothing to predict on.*{why}"):
            list(predict_inputs(arguments, "text", StringIO("\n")))
