"""Audio classification: what is read and cut, random changes, several labels, and the way from files to answers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch.nn import functional

from perceivers.config import override
from perceivers.pretrained.load import seeded_model
from perceivers.tasks import TASKS
from perceivers.tasks.audio_classification import AudioClassification
from perceivers.tasks.classes import present_tags, tag_step
from perceivers.tasks.pipeline import Pipeline, pipeline
from perceivers.tasks.sound_augment import SoundAugmentConfig, SoundAugmenter
from perceivers.zoo import ZOO
from train_examples import TINY

LABELS = ("a", "b", "c")
SMALL = {**TINY, "queries.num_channels": 16, "inputs.num_samples": 1280}


def task_of(settings: dict[str, Any] | None = None, model: str = "audio-spectrogram-small") -> AudioClassification:
    config = override(ZOO[model].config, SMALL)
    rate = {"sample_rate": 8000} if model == "audio-wave-small" else {}
    return AudioClassification.fit(config, LABELS, {**rate, **(settings or {})})


def ramp(length: int) -> dict[str, Any]:
    return {"array": np.linspace(0.1, 0.9, length, dtype=np.float32), "sampling_rate": 8000}


def test_the_middle_of_a_long_clip_is_read() -> None:
    item = task_of().prepare({"audio": ramp(2000), "label": 2})
    np.testing.assert_array_equal(item["audio"], ramp(2000)["array"][360:1640])
    assert item["audio_keep_mask"].all()
    assert item["label"] == 2


@pytest.mark.parametrize("length", [1, 701])
def test_a_short_clip_lies_in_the_middle_of_silence(length: int) -> None:
    item = task_of().prepare({"audio": ramp(length)})
    kept = np.flatnonzero(item["audio_keep_mask"])
    assert len(kept) == length
    assert abs((kept[0] + kept[-1]) / 2 - 639.5) <= 0.5
    np.testing.assert_array_equal(item["audio"][kept], ramp(length)["array"])
    assert not item["audio"][~item["audio_keep_mask"]].any()
    assert "label" not in item


@pytest.mark.parametrize("model", ["audio-spectrogram-small", "audio-wave-small"])
def test_what_is_padding_does_not_change_an_answer(model: str) -> None:
    task = task_of(model=model)
    network = seeded_model(task.config, 0).eval()
    item = task.prepare({"audio": ramp(400)})
    batch = task.collate([item])
    noise = torch.where(batch["audio_keep_mask"], batch["audio"], torch.rand(1, 1280))
    # Where a window reaches over the edge, what lies there counts; patches that hold padding alone do not.
    far = torch.arange(1280).sub(640).abs() > 600
    with torch.no_grad():
        answers = [
            network({**batch, "audio": torch.where(far, audio, batch["audio"])}) for audio in (batch["audio"], noise)
        ]
    torch.testing.assert_close(*answers)


def test_files_arrays_and_bytes_get_the_same_answer(tmp_path: Path) -> None:
    task = task_of()
    pipe = Pipeline(task, seeded_model(task.config, 0))
    wave = (0.4 * np.sin(np.arange(1500) * 0.3)).astype(np.float32)
    path = tmp_path / "tone.wav"
    soundfile.write(path, wave, 8000, subtype="FLOAT")
    single = pipe(str(path), top_k=3)
    assert [set(entry) for entry in single] == [{"label", "score"}] * 3
    others = pipe(
        [path, path.read_bytes(), {"array": wave, "sampling_rate": 8000}, wave, {"audio": str(path)}], top_k=3
    )
    for other in [*others, *pipe(tmp_path, top_k=3)]:
        assert [entry["label"] for entry in other] == [entry["label"] for entry in single]
        assert [entry["score"] for entry in other] == pytest.approx([entry["score"] for entry in single], rel=1e-5)
    pipe.save(tmp_path / "model")
    again = pipeline("audio-classification", tmp_path / "model")(str(path), top_k=3)
    assert [entry["score"] for entry in again] == pytest.approx([entry["score"] for entry in single], rel=1e-5)


def test_silence_is_refused_unless_it_is_meant(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "mute.wav", np.zeros(500), 8000)
    with pytest.raises(ValueError, match=r"sound file '.*mute.wav' is silent: all its 500 samples are 0; with allow"):
        task_of().prepare({"audio": str(tmp_path / "mute.wav")})
    task = task_of({"allow_silence": True, "loudness": "peak"})
    (result,) = task.predict(seeded_model(task.config, 0).eval(), [{"array": np.zeros(500), "sampling_rate": 8000}])
    assert all(np.isfinite(entry["score"]) for entry in result)


def test_peaks_are_brought_to_one() -> None:
    quiet = {"array": 0.01 * ramp(1280)["array"], "sampling_rate": 8000}
    assert task_of().prepare({"audio": quiet})["audio"].max() == pytest.approx(0.009)
    assert task_of({"loudness": "peak"}).prepare({"audio": quiet})["audio"].max() == pytest.approx(1)


def test_the_sample_rate_is_the_models() -> None:
    assert task_of().sample_rate == 8000
    assert AudioClassification.fit(ZOO["audio-wave-small"].config, LABELS, {}).sample_rate == 16000
    with pytest.raises(ValueError, match=r"sample_rate \(16000\) must be that of the model's spectrogram, 8000"):
        task_of({"sample_rate": 16000})
    with pytest.raises(ValueError, match=r"sample_rate \(0\) must lie between"):
        task_of({"sample_rate": 0}, "audio-wave-small")
    with pytest.raises(ValueError, match="needs a model with audio or spectrogram inputs, not 'image-patches'"):
        AudioClassification.fit(ZOO["digits-small"].config, LABELS, {})


def test_training_sees_whole_clips_and_cuts_them_anywhere() -> None:
    task = task_of()
    rows = [{"audio": ramp(length), "label": 0} for length in (2000, 700)]
    dataset = task.dataset(rows, training=True)
    batch = task.collate([dataset[0], dataset[1]])
    assert batch["audio"].shape == (2, 2000)
    assert batch["audio_keep_mask"].sum(dim=1).tolist() == [2000, 700]
    assert task.augment(batch, training=False) is batch
    torch.manual_seed(0)
    starts = set()
    for _ in range(5):
        cut = task.augment(batch, training=True)
        assert cut["audio"].shape == cut["audio_keep_mask"].shape == (2, 1280)
        assert cut["audio_keep_mask"].sum(dim=1).tolist() == [1280, 700]
        # Both are pieces of the ramp, whole and in order.
        steps = cut["audio"][0].diff()
        torch.testing.assert_close(steps, torch.full_like(steps, 0.8 / 1999), rtol=0, atol=1e-6)
        torch.testing.assert_close(cut["audio"][1][cut["audio_keep_mask"][1]], torch.from_numpy(ramp(700)["array"]))
        starts.add((float(cut["audio"][0, 0]), int(cut["audio_keep_mask"][1].int().argmax())))
    assert len(starts) == 5
    # In the middle it is what evaluation sees.
    cut = task_of({"augment": {"crop": "center"}}).augment(batch, training=True)
    for row, audio in zip(rows, cut["audio"], strict=True):
        np.testing.assert_allclose(audio, task.prepare(row)["audio"], atol=1e-7)


def augmented(audio: torch.Tensor, seed: int = 0, **fields: Any) -> torch.Tensor:
    torch.manual_seed(seed)
    config = SoundAugmentConfig(crop="center", **fields)
    return SoundAugmenter(config, audio.shape[1], 8000)(audio, torch.ones_like(audio, dtype=torch.bool))[0]


def tones(count: int) -> torch.Tensor:
    return 0.5 * torch.sin(2 * torch.pi * 1000 * torch.arange(8000) / 8000).expand(count, -1)


def test_speed_changes_the_pitch() -> None:
    changed = augmented(tones(30), speed=0.2)
    pitches = torch.fft.rfft(changed).abs().argmax(dim=1)
    assert 800 <= int(pitches.min()) < 900
    assert 1100 < int(pitches.max()) <= 1200


def test_loudness_changes_within_bounds() -> None:
    levels = 20 * torch.log10(augmented(tones(50), gain_db=6.0).abs().amax(dim=1) / 0.5)
    assert -6 <= float(levels.min()) < -4
    assert 4 < float(levels.max()) <= 6


def test_noise_is_fainter_than_the_sound_by_what_was_asked() -> None:
    audio = tones(40)
    noise = augmented(audio, noise_db=20.0) - audio
    below = -10 * torch.log10(noise.square().mean(dim=1) / audio.square().mean(dim=1))
    assert 19.5 < float(below.min()) < 25
    assert 40 < float(below.max()) < 50.5


def test_stretches_of_time_and_bands_are_taken_out() -> None:
    torch.manual_seed(1)
    audio = torch.randn(20, 8000) * 0.1
    silent = (augmented(audio, time_mask=0.25) == 0).float()
    assert 0.15 < float(silent.mean(dim=1).max()) <= 0.2501
    assert ((silent.diff(dim=1) == 1).sum(dim=1) <= 1).all()
    gone = torch.fft.rfft(augmented(audio, band_mask=0.25)).abs() < 1e-3
    assert (gone.sum(dim=1) > 5).any()
    mels = torch.log1p(torch.linspace(0, 4000, 4001) / 700)
    for row in gone:
        if row.sum() > 5:
            band = mels[row.nonzero()[:, 0]]
            assert float(band.max() - band.min()) / float(mels[-1]) <= 0.2501


def test_without_changes_a_batch_stays() -> None:
    assert torch.equal(augmented(tones(2)), tones(2))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"speed": 1.0}, r"speed \(1.0\) must lie between 0 and 1"),
        ({"time_mask": -0.1}, "time_mask"),
        ({"band_mask": 2.0}, "band_mask"),
        ({"gain_db": -1.0}, r"gain_db \(-1.0\) must not be negative"),
    ],
)
def test_what_changes_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SoundAugmentConfig(**fields)


def test_several_labels_are_answered_each_on_its_own() -> None:
    task = task_of({"multi_label": True, "label_smoothing": 0.2})
    assert (task.score, TASKS["audio-classification"].score) == ("map", "accuracy")
    rows = [{"audio": ramp(900), "label": labels} for labels in ([0, 2], [], [1])]
    batch = task.collate([task.prepare(row) for row in rows])
    assert batch["label"].tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0]]
    model = seeded_model(task.config, 0).eval()
    step = task.step(model, batch)
    expected = functional.binary_cross_entropy_with_logits(model(batch), batch["label"])
    torch.testing.assert_close(step.loss, expected)
    # Smoothing counts while training.
    assert float(task.step(model.train(), batch).loss.detach()) != pytest.approx(float(expected.detach()))
    (result,) = task.predict(model.eval(), [ramp(900)])
    logits = dict(zip(LABELS, model(batch)[0].tolist(), strict=True))
    assert {entry["label"]: entry["score"] for entry in result} == pytest.approx(
        {label: 1 / (1 + np.exp(-logit)) for label, logit in logits.items()}, rel=1e-5
    )


def test_mean_average_precision_by_hand() -> None:
    task = task_of({"multi_label": True})
    metrics = task.metrics()
    # The first label is ranked right; of the second, the right ones come 1st and 3rd; of the third last.
    probabilities = torch.tensor([[0.9, 0.9, 0.2], [0.8, 0.8, 0.3], [0.1, 0.7, 0.1]])
    targets = torch.tensor([[1.0, 1, 0], [1, 0, 0], [0, 1, 1]])
    task.update(metrics, tag_step(probabilities.logit(), targets, 0.0))
    assert float(metrics.compute()["map"]) == pytest.approx((1 + (1 + 2 / 3) / 2 + 1 / 3) / 3)
    (result,) = present_tags(torch.tensor([[0.0, 2.0, 1.0]]), LABELS, 2)
    assert [entry["label"] for entry in result] == ["b", "c"]


def test_lists_of_labels_and_single_ones_are_not_mixed_up() -> None:
    with pytest.raises(
        ValueError, match=r"a row has the labels \[0, 2\], but the task takes one; a setting multi_label"
    ):
        task_of().prepare({"audio": ramp(900), "label": [0, 2]})
    with pytest.raises(ValueError, match="a row has the label 1; with multi_label, labels are lists"):
        task_of({"multi_label": True}).prepare({"audio": ramp(900), "label": 1})
