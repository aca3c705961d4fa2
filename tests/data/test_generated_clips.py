from typing import Any

import numpy as np
import pytest

from perceivers.data import DataConfig, DataError, load_data
from perceivers.data.generated_clips import BouncingClips

ROLES, OPTIONAL = ("video",), ("label",)


def rows(count: int, **options: Any) -> list[dict[str, Any]]:
    source = BouncingClips(**options)
    return [dict(source.row(np.random.default_rng([0, i]))) for i in range(count)]


def test_a_clip_has_frames_sound_and_a_label() -> None:
    for row in rows(20, num_frames=4, side=24):
        clip = row["video"]
        assert clip["video"].shape == (4, 24, 24, 3)
        assert clip["video"].dtype == np.uint8
        assert clip["audio"].shape == (1024,)
        assert np.abs(clip["audio"]).max() <= 0.8
        assert (clip["frame_rate"], clip["sample_rate"]) == (8.0, 2048)


def test_clips_follow_from_their_number() -> None:
    splits = load_data(
        DataConfig(source="clips", options={"num_train": 12, "num_test": 4}), ROLES, optional_roles=OPTIONAL
    )
    assert splits.labels == ("circle", "square", "triangle", "cross")
    assert splits.description == "clips: 12 training and 4 evaluation examples, 4 labels"
    first, again = splits.train[3], splits.train[3]
    np.testing.assert_array_equal(first["video"]["video"], again["video"]["video"])
    assert {row["label"] for row in splits.train} == {0, 1, 2, 3}
    assert not np.array_equal(splits.train[0]["video"]["video"], splits.eval[0]["video"]["video"])


def test_the_pitch_tells_the_kind() -> None:
    pitches: dict[int, set[float]] = {}
    for row in rows(30):
        spectrum = np.abs(np.fft.rfft(row["video"]["audio"]))
        pitches.setdefault(row["label"], set()).add(round(float(spectrum.argmax())))
    assert {label: max(found) - min(found) <= 1 for label, found in pitches.items()} == dict.fromkeys(range(4), True)
    assert len({min(found) for found in pitches.values()}) == 4


def test_the_shape_stays_inside_and_the_sound_is_loud_where_it_bounces() -> None:
    for row in rows(20, num_frames=64, frame_rate=32.0, side=40):
        video = row["video"]["video"].astype(float)
        ground = video[:, [0, 0, -1, -1], [0, -1, 0, -1]].mean(axis=(0, 1))
        shape = np.abs(video - ground).mean(axis=-1) > 45
        places = np.array([np.argwhere(frame).mean(axis=0) for frame in shape])
        moved = np.diff(places, axis=0)
        # A direction that turns is a bounce; the loudness is the largest sample of each frame's time.
        turns = np.flatnonzero((moved[1:] * moved[:-1] < -0.05).any(axis=1)) + 1
        loudness = np.abs(row["video"]["audio"]).reshape(64, 64).max(axis=1)
        assert len(turns)
        for turn in turns[(turns > 2) & (turns < 61)]:
            assert loudness[turn - 2 : turn + 3].max() > 0.65
        assert loudness.min() < 0.5


@pytest.mark.parametrize("name", ["num_frames", "side", "num_train"])
def test_sizes_must_be_positive(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        BouncingClips(**{name: 0})


def test_other_labels_are_refused() -> None:
    with pytest.raises(DataError, match=r"made with the labels \['circle', .*\], not \['dog', 'cat'\]"):
        load_data(DataConfig(source="clips"), ROLES, labels=("dog", "cat"), optional_roles=OPTIONAL)
