"""`perceivers predict` and `evaluate` for every kind of task, and `predict features`."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
from PIL import Image

from perceivers.pretrained.load import seeded_model
from perceivers.processing.flow import read_flow, write_flow
from perceivers.processing.video_writing import write_video
from perceivers.tasks import TASKS
from perceivers.tasks.pipeline import Pipeline, pipeline


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tiny model with fresh weights for each task."""
    folders = {}
    for name in ("fill-mask", "image-classification", "optical-flow", "video-autoencoding"):
        task, _ = TASKS[name].example()
        folders[name] = tmp_path_factory.mktemp("models") / name
        Pipeline(task, seeded_model(task.config, 0)).save(folders[name])
    return folders


@pytest.fixture
def frames(tmp_path: Path) -> list[Path]:
    noise = np.random.default_rng(0)
    paths = [tmp_path / "frames" / f"{i}.png" for i in (9, 10, 11)]
    paths[0].parent.mkdir()
    for path in paths:
        Image.fromarray(noise.integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(path)
    return paths


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    noise = np.random.default_rng(0)
    sound = noise.uniform(-0.5, 0.5, 3200).astype(np.float32)
    write_video(tmp_path / "clip.mp4", noise.integers(0, 256, (5, 16, 24, 3), dtype=np.uint8), 25.0, sound, 16000)
    return tmp_path / "clip.mp4"


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_fill_mask_hides_what_stands_beside(cli, models: dict[str, Path]) -> None:
    words = ("predict", "fill-mask", "--model", models["fill-mask"], "--json", "--top-k", 2)
    by_word = cli(*words, "the cat sat, the cat ran", "--with", "hide=cat")
    by_bytes = cli(*words, "the cat sat, the cat ran", "--with", "spans=[[4, 7], [17, 20]]")
    by_mask = cli(*words, "the [MASK:3] sat, the [MASK:3] ran")
    results = [lines(run.stdout)[0]["result"] for run in (by_word, by_bytes, by_mask)]
    assert results[0] == results[1] == results[2]
    assert [len(candidates) for candidates in results[0]] == [2, 2]
    table = cli(*words[:4], "the cat sat, the cat ran", "--with", "hide=cat", "--top-k", 1)
    assert table.stdout.count("%") == 2
    assert cli(*words, "the cat", "--with", "hide=dog").exit_code == 1


def test_a_word_to_hide_is_taken_as_typed(cli, models: dict[str, Path]) -> None:
    words = ("predict", models["fill-mask"], "--json", "--top-k", 1)
    for word in ("1.50", "true", "null", "2024-01-01", "a: b", "#5"):
        result = cli(*words, f"it is {word} now", "--with", f"hide={word}")
        assert result.exit_code == 0, result.output
        assert len(lines(result.stdout)[0]["result"][0]["token"]) == len(word)


def test_fill_mask_reads_json_lines(cli, models: dict[str, Path], tmp_path: Path) -> None:
    rows = [{"text": "one two", "hide": "two"}, {"text": "three", "spans": [[0, 1]]}]
    (tmp_path / "asked.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    answers = lines(cli("predict", models["fill-mask"], tmp_path / "asked.jsonl", "--json").stdout)
    assert [Path(answer["input"]).name for answer in answers] == ["asked.jsonl:1", "asked.jsonl:2"]
    assert [len(answer["result"]) for answer in answers] == [5, 5]


def test_flow_of_two_frames(cli, models: dict[str, Path], frames: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "flow"
    result = cli("predict", "optical-flow", *frames[:2], "--model", models["optical-flow"], "--output", out, "--json")
    assert result.exit_code == 0, result.output
    (answer,) = lines(result.stdout)
    assert answer["input"] == "9-10"
    assert (answer["result"][0]["height"], answer["result"][0]["width"]) == (20, 30)
    expected = pipeline("optical-flow", models["optical-flow"])(*frames[:2])
    np.testing.assert_allclose(read_flow(out / "9-10.flo").flow, expected.flow, rtol=1e-5, atol=1e-6)
    assert {"9-10.flow.png", "9-10.kitti.png", "9-10.npy", "9-10.overlay.png", "9-10.warped.png"} < set(names_in(out))


def test_flow_of_a_folder_and_of_a_video(cli, models: dict[str, Path], frames: list[Path], clip: Path) -> None:
    words = ("predict", models["optical-flow"], "--json")
    assert [answer["input"] for answer in lines(cli(*words, frames[0].parent).stdout)] == ["9-10", "10-11"]
    assert len(lines(cli(*words, clip).stdout)) == 4
    alone = cli(*words, frames[0])
    assert alone.exit_code == 1
    assert "9.png" in alone.stderr


def test_settings_of_a_prediction(cli, models: dict[str, Path], frames: list[Path]) -> None:
    words = ("predict", models["optical-flow"], *frames[:2], "--json")
    tiles = [lines(cli(*words, *more).stdout)[0]["result"][0]["tiles"] for more in ((), ("--set", "min_overlap=11"))]
    assert tiles[1] > tiles[0]
    refused = cli(*words, "--set", "speed=3")
    assert refused.exit_code == 2
    assert "no field 'speed'" in refused.stderr


def test_video_is_written(cli, models: dict[str, Path], clip: Path, tmp_path: Path) -> None:
    out, maps = tmp_path / "out", tmp_path / "maps"
    words = ("predict", "video-autoencoding", clip, "--model", models["video-autoencoding"], "--top-k", 1)
    result = cli(*words, "--output", out, "--attention", maps, "--set", "max_windows=2")
    assert result.exit_code == 0, result.output
    assert "video_psnr" in result.stdout
    assert {"clip.mp4", "clip.side.mp4", "clip.gif", "clip.wav", "clip.json"} < set(names_in(out))
    assert names_in(maps) == ["clip-1.attention.png", "clip-2.attention.png"]


def test_attention_of_images(cli, models: dict[str, Path], frames: list[Path], tmp_path: Path) -> None:
    words = ("predict", models["image-classification"], *frames, "--attention", tmp_path / "maps")
    result = cli(*words, "--picture", tmp_path / "pictures", "--output", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert names_in(tmp_path / "maps") == ["10.attention.png", "11.attention.png", "9.attention.png"]
    assert names_in(tmp_path / "pictures") == ["10.png", "11.png", "9.png"]
    assert names_in(tmp_path / "out") == ["10.json", "10.png", "11.json", "11.png", "9.json", "9.png"]


def test_features_into_an_array(cli, models: dict[str, Path], frames: list[Path], tmp_path: Path) -> None:
    words = ("predict", "features", frames[0].parent, "--model", models["image-classification"])
    result = cli(*words, "--output", tmp_path / "all.npy", "--json")
    assert result.exit_code == 0, result.output
    expected = pipeline(model=models["image-classification"]).encode([str(path) for path in frames])
    loaded = np.load(tmp_path / "all.npy")
    assert loaded.shape == (3, *expected[0].shape)
    order = [frames.index(Path(answer["input"])) for answer in lines(result.stdout)]
    np.testing.assert_allclose(loaded, [expected[i] for i in order], rtol=1e-4, atol=1e-5)
    cli(*words, "--output", tmp_path / "pooled.npy", "--pool")
    np.testing.assert_allclose(np.load(tmp_path / "pooled.npy"), loaded.mean(axis=(1, 2)), rtol=1e-4, atol=1e-5)


def test_features_into_a_table(cli, models: dict[str, Path], tmp_path: Path) -> None:
    texts = ("short", "long " * 60)
    words = ("predict", "features", *texts, "--model", models["fill-mask"])
    assert cli(*words, "--output", tmp_path / "all.parquet").exit_code == 0
    expected = pipeline(model=models["fill-mask"]).encode(list(texts))
    table = pyarrow.parquet.read_table(tmp_path / "all.parquet").to_pylist()
    assert [(row["input"], row["piece"]) for row in table] == [(texts[0], 0), *((texts[1], i) for i in range(3))]
    pieces = [piece for features in expected for piece in features]
    for row, piece in zip(table, pieces, strict=True):
        np.testing.assert_allclose(np.reshape(row["features"], row["shape"]), piece, rtol=1e-4, atol=1e-5)
    refused = cli(*words, "--output", tmp_path / "all.npy")
    assert refused.exit_code == 2
    assert "which fit into no array" in refused.stderr
    assert names_in(tmp_path) == ["all.parquet"]


def test_features_into_a_folder_and_on_the_screen(cli, models: dict[str, Path], clip: Path, tmp_path: Path) -> None:
    words = ("predict", "features", clip, tmp_path / "absent.mp4", "--model", models["video-autoencoding"])
    result = cli(*words, "--output", tmp_path / "features", "--json")
    assert result.exit_code == 1
    assert "absent.mp4" in result.stderr
    (answer,) = lines(result.stdout)
    assert np.load(tmp_path / "features" / "clip.npy").shape == tuple(answer["shape"])
    assert answer["shape"][0] == 3
    (shown,) = lines(cli(*words, "--json", "--pool").stdout)
    assert len(shown["features"]) == shown["shape"][0]


def test_a_file_in_the_way_of_a_folder_is_named(cli, models: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("mine")
    for option in ("--output", "--attention", "--picture"):
        result = cli("predict", models["fill-mask"], "a[MASK]", option, tmp_path / "taken")
        assert result.exit_code == 2
        assert f"'{tmp_path / 'taken'}' cannot be made a folder: a file is in the way" in result.stderr
    assert (tmp_path / "taken").read_text() == "mine"


def test_folders_of_features_are_made(cli, models: dict[str, Path], tmp_path: Path) -> None:
    for name in ("x.npy", "x.parquet"):
        path = tmp_path / name.replace(".", "-") / "deep" / name
        result = cli("predict", "features", "a text", "--model", models["fill-mask"], "--output", path)
        assert result.exit_code == 0, result.output
        assert path.is_file()


def test_pictures_of_many_pieces_are_listed_in_order(cli, models: dict[str, Path], tmp_path: Path) -> None:
    result = cli("predict", models["fill-mask"], "[MASK]" + "a" * 1300, "--top-k", 1, "--attention", tmp_path)
    assert result.exit_code == 0, result.output
    found = names_in(tmp_path)
    assert len(found) > 9
    assert [int(name.split(".")[0].rpartition("-")[2]) for name in found] == list(range(1, len(found) + 1))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("features", "x"), "name it with --model"),
        (("features", "x", "--model", "{fill-mask}", "--picture", "p"), "features have no --picture"),
        (("features", "x", "--model", "{fill-mask}", "--output", "x.csv"), "must end in .npy or .parquet"),
        (("fill-mask", "x", "--model", "{fill-mask}", "--pool"), "--pool is for features"),
        (("fill-mask", "x", "--model", "{optical-flow}"), "was trained for 'optical-flow', not 'fill-mask'"),
        (("fill-mask", "x", "--task", "optical-flow"), "--task names another, 'optical-flow'"),
        (("{fill-mask}", "x", "--model", "y"), "is no task, so it cannot have --model"),
        (("text-classification", "x"), "'text-classification' has no released model; name one with --model"),
        (("{fill-mask}", "x", "--numerics", "original"), "its own config says how it computes"),
        (("{fill-mask}", "x", "--with", "hide"), "--with 'hide' must have the form name=value"),
        (("{image-classification}", "x", "--set", "image_size=8"), "settings.image_size = 8 must be a list of 2"),
        (("{optical-flow}", "x", "y", "--set", "min_overlap=-5"), "min_overlap (-5) must be at least 0"),
    ],
)
def test_mistakes(cli, models: dict[str, Path], tmp_path: Path, monkeypatch, words, message: str) -> None:
    monkeypatch.chdir(tmp_path)
    result = cli("predict", *(word.format(**models) for word in words))
    assert result.exit_code == 2
    assert message in result.stderr
    assert names_in(tmp_path) == []


def test_flow_is_scored_against_ground_truth(cli, models: dict[str, Path], tmp_path: Path) -> None:
    noise = np.random.default_rng(0)
    for split, count in (("train", 2), ("test", 3)):
        (tmp_path / split).mkdir()
        for i in range(count):
            for frame in (1, 2):
                image = noise.integers(0, 256, (13, 21, 3), dtype=np.uint8)
                Image.fromarray(image).save(tmp_path / split / f"{i}_img{frame}.png")
            write_flow(tmp_path / split / f"{i}_flow.flo", np.full((13, 21, 2), 50, dtype=np.float32))
    result = cli("evaluate", "optical-flow", "--model", models["optical-flow"], "--data", tmp_path, "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["examples"] == 3
    assert report["metrics"]["px5"] == 1.0
    assert report["metrics"]["epe"] == pytest.approx(50 * 2**0.5, rel=0.1)
    assert report["weights"].endswith("(folder)")


def test_video_is_scored_without_labels(cli, models: dict[str, Path], clip: Path, tmp_path: Path) -> None:
    folder = tmp_path / "clips"
    folder.mkdir()
    for name in ("a.mp4", "b.mp4"):
        (folder / name).write_bytes(clip.read_bytes())
    result = cli("evaluate", models["video-autoencoding"], "--data", folder, "--all", "--json")
    assert result.exit_code == 0, result.output
    assert set(json.loads(result.stdout)["metrics"]) == {"video_psnr", "audio_psnr"}
