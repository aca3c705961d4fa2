import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from perceivers.config import override
from perceivers.model import PerceiverIO
from perceivers.pretrained.load import seeded_model
from perceivers.processing.audio import read_audio
from perceivers.processing.video import open_clip
from perceivers.processing.video_frames import read_frames
from perceivers.processing.video_pictures import psnr
from perceivers.processing.video_writing import write_video
from perceivers.tasks.pipeline import Pipeline
from perceivers.tasks.reconstruction import VideoResult
from perceivers.tasks.video_autoencoding import ClipWindows, VideoAutoencoding
from perceivers.train import evaluate
from perceivers.zoo import ZOO

NOISE = np.random.default_rng(0)
# The tiny task reads windows of 2 frames of 8x12 pixels with 64 samples: 800 a second.
RATE = 800


def make(**settings: Any) -> VideoAutoencoding:
    return VideoAutoencoding.fit(VideoAutoencoding.example()[0].config, ("a", "b"), settings)


@pytest.fixture(scope="module")
def model() -> PerceiverIO:
    return seeded_model(make().config, 0).eval()


def clip(num_frames: int, *, sound: bool = True) -> dict[str, Any]:
    video = NOISE.integers(0, 256, (num_frames, 8, 12, 3), dtype=np.uint8)
    if not sound:
        return {"video": video, "frame_rate": 25.0}
    audio = NOISE.uniform(-0.9, 0.9, 32 * num_frames).astype(np.float32)
    return {"video": video, "frame_rate": 25.0, "audio": audio, "sample_rate": RATE}


def answers(model: PerceiverIO, video: np.ndarray, audio: np.ndarray) -> dict[str, np.ndarray]:
    batch = {"video": torch.from_numpy(video)[None], "audio": torch.from_numpy(audio)[None]}
    with torch.no_grad():
        return {name: part[0].numpy() for name, part in model(batch).items()}


def test_a_window_comes_back_as_the_model_says(model: PerceiverIO) -> None:
    value = clip(2)
    result = make().predict(model, [value], top_k=2)[0]
    assert isinstance(result, VideoResult)
    expected = answers(model, value["video"], value["audio"])
    video = np.clip(expected["video"], 0, 1)
    np.testing.assert_allclose(result.video_out, video * 255, atol=0.51)
    np.testing.assert_allclose(result.audio_out, np.clip(expected["audio"], -1, 1), rtol=1e-4, atol=1e-5)
    assert result.video_psnr == pytest.approx(psnr(value["video"] / 255, video), rel=1e-4)
    assert result.audio_psnr == pytest.approx(psnr(value["audio"], result.audio_out), rel=1e-4)
    probabilities = torch.from_numpy(expected["label"]).double().softmax(dim=-1)
    order = probabilities.argsort(descending=True).tolist()
    assert [entry["label"] for entry in result.best_labels] == ["ab"[i] for i in order]
    assert [entry["score"] for entry in result.best_labels] == pytest.approx(probabilities[order].tolist(), rel=1e-5)


@pytest.mark.parametrize("chunk_size", [1, 50, 10**6])
def test_pieces_do_not_change_what_comes_back(model: PerceiverIO, chunk_size: int) -> None:
    value = clip(2)
    expected = make().predict(model, [value])[0]
    result = make(chunk_size=chunk_size).predict(model, [value])[0]
    np.testing.assert_allclose(result.audio_out, expected.audio_out, rtol=1e-4, atol=1e-5)
    assert np.abs(result.video_out.astype(int) - expected.video_out).max() <= 1


def test_a_whole_clip_is_read_window_by_window(model: PerceiverIO) -> None:
    value = clip(5)
    result = make().predict(model, [value], top_k=1)[0]
    assert [round(window.start * 25) for window in result.windows] == [0, 2, 4]
    # What was made up to fill the last window is not shown.
    assert [len(window.video) for window in result.windows] == [2, 2, 1]
    np.testing.assert_array_equal(result.video, value["video"])
    np.testing.assert_allclose(result.audio, value["audio"], atol=1e-6)
    for i, window in enumerate(result.windows[:2]):
        (alone,) = make().predict(
            model,
            [
                {
                    **value,
                    "video": value["video"][2 * i : 2 * i + 2],
                    "audio": value["audio"][64 * i : 64 * i + 64],
                }
            ],
        )
        np.testing.assert_allclose(window.audio_out, alone.audio_out, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(window.probabilities, alone.windows[0].probabilities, rtol=1e-4)
    mean = np.mean([window.probabilities for window in result.windows], axis=0)
    assert result.best_labels[0]["score"] == pytest.approx(mean.max())
    assert any("1 of 2 frames are real" in note for note in result.notes)
    mse = np.average([window.video_mse for window in result.windows], weights=[2, 2, 1])
    assert result.video_psnr == pytest.approx(-10 * math.log10(mse))
    assert len(make(max_windows=2).predict(model, [value])[0].windows) == 2


def test_a_clip_without_sound_is_read_with_silence(model: PerceiverIO) -> None:
    value = clip(2, sound=False)
    result = make().predict(model, [value])[0]
    assert (result.has_audio, result.audio_psnr) == (False, None)
    assert not result.audio.any()
    assert any("silence" in note for note in result.notes)
    expected = answers(model, value["video"], np.zeros(64, dtype=np.float32))
    np.testing.assert_allclose(result.audio_out, np.clip(expected["audio"], -1, 1), rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A moving edge with a tone, half a second long: 12 frames of 30 a second, at 16 kHz."""
    frames = np.zeros((12, 48, 72, 3), dtype=np.uint8)
    for i in range(12):
        frames[i, :, : 6 * i] = 230
    tone = 0.5 * np.sin(2 * np.pi * 200 * np.arange(6400) / 16000)
    path = tmp_path_factory.mktemp("clips") / "edge.mp4"
    write_video(path, frames, 30.0, tone.astype(np.float32), 16000)
    return path


def test_files_are_read_and_written(model: PerceiverIO, file: Path, tmp_path: Path) -> None:
    task = make()
    result = Pipeline(task, model)(str(file))
    assert result.video.shape[1:] == (8, 12, 3)
    assert any("30 frames a second resampled to 25" in note for note in result.notes)
    files = {path.name for path in result.save(tmp_path, "edge")}
    assert files == {path.name for path in tmp_path.iterdir()}
    assert files == {
        *("edge.mp4", "edge.side.mp4", "edge.gif", "edge.sheet.png", "edge.json"),
        *("edge.wav", "edge.waveform.png", "edge.spectrogram.png"),
    }
    back = list(read_frames(tmp_path / "edge.mp4"))
    assert len(back) == len(result.video)
    assert back[0].shape == (8, 12, 3)
    side = list(read_frames(tmp_path / "edge.side.mp4"))
    assert side[0].shape == (8, 24, 3)
    clip_back = open_clip(tmp_path / "edge.mp4", task.form)
    assert clip_back.has_audio
    samples, rate = read_audio(tmp_path / "edge.wav")
    assert rate == RATE
    np.testing.assert_allclose(samples, result.audio_out, atol=1e-4)
    summary = json.loads((tmp_path / "edge.json").read_text(encoding="utf-8"))
    assert summary["frames"] == len(result.video)
    assert len(summary["windows"]) == len(result.windows)
    assert summary["video_psnr"] == pytest.approx(result.video_psnr, abs=1e-3)
    with Image.open(tmp_path / "edge.gif") as animation:
        assert animation.n_frames >= len(result.video) - 1


def test_files_without_sound_have_no_pictures_of_it(model: PerceiverIO, tmp_path: Path) -> None:
    result = make().predict(model, [clip(2, sound=False)])[0]
    files = {path.name for path in result.save(tmp_path, "mute")}
    assert files == {"mute.mp4", "mute.side.mp4", "mute.gif", "mute.sheet.png", "mute.json"}
    assert not open_clip(tmp_path / "mute.mp4").has_audio


def test_a_perfect_answer_is_infinitely_good_and_still_json(tmp_path: Path) -> None:
    task = make()
    value = clip(2)
    result = task.predict(Echo(task.config, value), [value])[0]
    assert result.video_psnr == math.inf
    summary = json.loads(json.dumps(task.summary(result), allow_nan=False))
    assert summary[0]["video_psnr"] == "infinite"


class Echo(PerceiverIO):
    """Gives back one clip, sure of the second label."""

    def __init__(self, config: Any, value: dict[str, Any]) -> None:
        super().__init__(config)
        self.value = value

    def decode(self, latents: Any, *, where: Any = None, chunk_size: int | None = None) -> Any:
        batch_size = len(latents.values)
        # In the precision in which the error is counted.
        video = torch.from_numpy(self.value["video"].astype(np.float32) / 255).expand(batch_size, -1, -1, -1, -1)
        audio = torch.from_numpy(self.value["audio"]).expand(batch_size, -1)
        return {"video": video, "audio": audio, "label": torch.tensor([[0.0, 9.0]]).expand(batch_size, -1)}


def test_scores_are_means_over_windows() -> None:
    task = make()
    value = clip(2)
    darker = {**value, "video": value["video"] // 2, "audio": value["audio"] / 2}
    rows = [{"video": value, "label": 1}, {"video": darker, "label": 0}, {"video": darker}]
    echo = Echo(task.config, value).eval()
    for batch_size in (1, 3):
        scores = evaluate(task, echo, rows, batch_size=batch_size)
        # A window that comes back to the bit counts as 120 dB.
        error = psnr(value["video"] / 255, darker["video"] / 255)
        assert scores["video_psnr"] == pytest.approx((120 + 2 * error) / 3, rel=1e-4)
        assert scores["accuracy"] == 0.5
    # Where no label is known there is no accuracy.
    assert set(evaluate(task, echo, rows[2:])) == {"video_psnr", "audio_psnr"}


@pytest.mark.parametrize("hides", [True, False])
def test_the_label_is_not_seen_where_it_is_scored(hides: bool) -> None:
    config = VideoAutoencoding.example()[0].config
    probabilities = {"label": 0.5} if hides else {}
    task = VideoAutoencoding.fit(override(config, {"inputs.mask_probabilities": probabilities}), ("a", "b"), {})
    model = seeded_model(task.config, 0).eval()
    value = clip(2)
    outputs = [
        task.step(model, task.collate([task.prepare({"video": value, "label": i})])).outputs for i in (0, 1, None)
    ]
    for name in ("video", "audio", "label"):
        assert torch.equal(outputs[0][name], outputs[1][name])
        assert torch.equal(outputs[0][name], outputs[2][name])


def test_half_of_the_labels_are_seen_while_training() -> None:
    config = override(VideoAutoencoding.example()[0].config, {"inputs.mask_probabilities": {"label": 0.5}})
    task = VideoAutoencoding.fit(config, ("a", "b"), {})
    model = seeded_model(task.config, 0).train()
    item = task.prepare({"video": clip(2), "label": 1})
    batch = {key: value.float() if key == "audio" else value for key, value in task.collate([item] * 200).items()}
    torch.manual_seed(0)
    shown = task._shown(model, batch["label"])
    assert shown["label"][0].tolist() == [0.0, 1.0]
    label = model.inputs({**batch, **shown}).values[:, -1]  # the label's token is the last
    mask = model.inputs.mask_token["label"]
    assert 0.4 < float((label == mask).all(dim=-1).double().mean()) < 0.6


def test_training_asks_for_a_random_part(model: PerceiverIO) -> None:
    torch.manual_seed(0)
    task = make(num_video_outputs=7, num_audio_outputs=3, video_weight=1.0, audio_weight=0.0, label_weight=0.0)
    items = [task.prepare({"video": clip(2), "label": i}) for i in (0, 1)]
    training = seeded_model(task.config, 0).train()
    steps = [task.step(training, task.collate(items)) for _ in range(2)]
    assert steps[0].outputs["video"].shape == (2, 7, 3)
    assert steps[0].outputs["audio"].shape == (2, 3, 16)
    assert not torch.equal(steps[0].targets["video"], steps[1].targets["video"])
    expected = (steps[0].outputs["video"] - steps[0].targets["video"]).abs().mean()
    torch.testing.assert_close(steps[0].loss, expected)


def in_blocks(patch_size: int, num_block_frames: int, **settings: Any) -> VideoAutoencoding:
    """Return the tiny task with a model that answers blocks of pixels."""
    changes = {
        "outputs.outputs.video": {"kind": "video", "patch_size": patch_size, "num_block_frames": num_block_frames},
        "queries.queries.video.grid_shape": [2 // num_block_frames, 8 // patch_size, 12 // patch_size],
    }
    return VideoAutoencoding.fit(override(VideoAutoencoding.example()[0].config, changes), ("a", "b"), settings)


@pytest.mark.parametrize("error", ["absolute", "squared"])
@pytest.mark.parametrize("block", [None, (4, 1), (2, 2)])
def test_the_targets_are_where_the_outputs_are(block: tuple[int, int] | None, error: str) -> None:
    """A model that knows the clip has no loss, whichever part is asked for; one that is off has what it is off by."""
    by = 0.0

    class Knows(PerceiverIO):
        def decode(self, latents: Any, *, where: Any = None, chunk_size: int | None = None) -> Any:
            side, frames = block or (1, 1)
            video = torch.from_numpy(value["video"])[None] / 255
            cells = [
                video[0, t : t + frames, y : y + side, x : x + side].flatten()
                for t in range(0, 2, frames)
                for y in range(0, 8, side)
                for x in range(0, 12, side)
            ]
            runs = torch.from_numpy(value["audio"]).reshape(-1, 16)
            label = torch.tensor([[0.0, 30.0]])
            if where is None:
                return {"video": video + by, "audio": runs.flatten()[None], "label": label}
            answers = torch.stack(cells)[where["video"]][None] + by
            return {"video": answers, "audio": runs[where["audio"]][None], "label": label[:, None]}

    value = clip(2)
    weights = {"error": error, "video_weight": 2.0}
    task = make(**weights) if block is None else in_blocks(*block, **weights)
    batch = task.collate([task.prepare({"video": value, "label": 1})])
    for model in (Knows(task.config).train(), Knows(task.config).eval()):
        by = 0.0
        assert float(task.step(model, batch).loss) == pytest.approx(0, abs=1e-6)
        by = 0.1
        assert float(task.step(model, batch).loss) == pytest.approx(0.2 if error == "absolute" else 0.02, rel=1e-4)


@pytest.mark.parametrize("block", [(4, 1), (2, 2)])
def test_blocks_become_frames(block: tuple[int, int]) -> None:
    """The clip in one piece has the pixels of each block that was asked for on its own."""
    task = in_blocks(*block)
    model = seeded_model(task.config, 0).eval()
    value = clip(2)
    batch = task.collate([task.prepare({"video": value})])
    inputs = {"video": batch["video"], "audio": batch["audio"]}
    side, frames = block
    with torch.no_grad():
        whole = model(inputs)["video"]
        cells = model(inputs, where={"video": torch.tensor([5])})["video"]
    assert whole.shape == (1, 2, 8, 12, 3)
    across = 12 // side
    y, x = 5 // across * side, 5 % across * side
    torch.testing.assert_close(whole[0, :frames, y : y + side, x : x + side].flatten(), cells[0, 0])
    result = task.predict(model, [value])[0]
    np.testing.assert_allclose(result.video_out, whole[0].clamp(0, 1).numpy() * 255, atol=0.51)
    assert evaluate(task, model, [{"video": value, "label": 0}])["video_psnr"] == pytest.approx(
        float(10 * torch.log10(1 / (whole - batch["video"] / 255).square().mean())), rel=1e-4
    )


def test_examples_are_whole_windows() -> None:
    task = make()
    rows = [{"video": clip(5), "label": 0}, {"video": clip(1), "label": 1}, {"video": clip(4), "label": 1}]
    dataset = task.dataset(rows, training=True)
    assert len(dataset) == 2 + 1 + 2
    assert [dataset[i]["label"] for i in range(5)] == [0, 0, 1, 1, 1]
    np.testing.assert_array_equal(dataset[1]["video"], rows[0]["video"]["video"][2:4])
    np.testing.assert_allclose(dataset[1]["audio"], rows[0]["video"]["audio"][64:128], atol=1e-6)
    assert len(make(max_windows=1).dataset(rows, training=True)) == 3


def test_windows_are_read_once_as_long_as_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    task = make()
    rows = [{"video": clip(5), "label": 0}, {"video": clip(4), "label": 1}]
    read: list[float] = []
    prepare = task.prepare

    def spy(row: dict[str, Any]) -> dict[str, Any]:
        read.append(row["start"])
        return prepare(row)

    monkeypatch.setattr(task, "prepare", spy)
    size = 2 * 8 * 12 * 3 + 64 * 4
    dataset = ClipWindows(task, rows, room=3 * size)
    first = [dataset[i] for i in range(4)]
    assert len(read) == 4
    for i, item in enumerate(first):
        again = dataset[i]
        assert again.keys() == item.keys()
        assert all(np.array_equal(again[key], item[key]) for key in item)
    assert len(read) == 5  # The fourth had no room.
    again = dataset[0]
    again["label"] = 7
    assert dataset[0]["label"] == 0


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"frame_rate": 25.0}, "a clip must be a file, an array, or a mapping with"),
        ({"video": np.zeros((2, 8, 12, 3), np.uint8), "speed": 2}, "a clip must be"),
        (np.zeros((2, 8, 12)), "must be"),
        ("absent.mp4", "'absent.mp4' does not exist"),
        ({"video": None}, r"video of shape \(\) must be"),
    ],
)
def test_what_is_no_clip_is_refused(model: PerceiverIO, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make().predict(model, [value])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"chunk_size": 0}, r"chunk_size \(0\) must be at least 1"),
        ({"max_windows": 0}, r"max_windows \(0\) must be at least 1"),
        ({"error": "cubed"}, r"error = 'cubed' is not one of \['absolute', 'squared'\]"),
        ({"stereo": "left"}, r"stereo = 'left' is not one of \['mix', 'first'\]"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**settings)


def test_models_of_another_kind_are_refused() -> None:
    with pytest.raises(ValueError, match="needs a model with audio, video and label as inputs and outputs, not 'flow'"):
        VideoAutoencoding.fit(ZOO["optical-flow"].config, None, {})
    config = make().config
    with pytest.raises(ValueError, match="3 labels do not fit a model of 2"):
        VideoAutoencoding.fit(config, None, {"labels": ["a", "b", "c"]})


def test_the_released_model_reads_as_it_was_trained() -> None:
    form = VideoAutoencoding.fit(ZOO["video-autoencoding"].config, None, {}).form
    assert (form.num_frames, form.frame_rate, form.size) == (16, 25.0, (224, 224))
    assert (form.sample_rate, form.window_samples) == (48000, 30720)
