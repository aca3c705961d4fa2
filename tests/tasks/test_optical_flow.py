import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from perceivers.adapters.base import Batch
from perceivers.config import override
from perceivers.data import DataConfig, Splits, load_data
from perceivers.model import PerceiverIO
from perceivers.pretrained.load import seeded_model
from perceivers.processing.flow import read_flow, write_flow
from perceivers.processing.flow_pictures import end_point_error
from perceivers.tasks.flow_result import FlowResult
from perceivers.tasks.flow_sizes import resize_flow
from perceivers.tasks.optical_flow import OpticalFlow
from perceivers.tasks.pipeline import Pipeline
from perceivers.train import RunResult, Trainer, evaluate
from perceivers.train.config import OptimizerConfig, ScheduleConfig, TrainConfig
from perceivers.zoo import ZOO

TILE = (12, 16)
NOISE = np.random.default_rng(0)


@pytest.fixture(scope="module")
def model() -> PerceiverIO:
    return seeded_model(OpticalFlow.example()[0].config, 0).eval()


def make(**settings: Any) -> OpticalFlow:
    config = OpticalFlow.example()[0].config
    return OpticalFlow.fit(config, None, {"min_overlap": 4, **settings})


def frame(height: int, width: int, channels: int = 3) -> np.ndarray:
    return NOISE.integers(0, 256, (height, width, channels), dtype=np.uint8)


def test_one_tile_is_what_the_model_says(model: PerceiverIO) -> None:
    first, second = frame(*TILE), frame(*TILE)
    (result,) = make().predict(model, [(first, second)])
    expected = model({"frames": torch.from_numpy(np.stack([first, second]))[None]})[0]
    np.testing.assert_allclose(result.flow, expected.detach().numpy(), rtol=1e-5, atol=1e-6)
    assert result.num_tiles == 1
    np.testing.assert_array_equal(result.frames[1], second)


def test_tiles_are_blended(model: PerceiverIO) -> None:
    first, second = frame(12, 24), frame(12, 24)
    result = make().predict(model, [(first, second)])[0]
    assert result.num_tiles == 2
    # The tiles begin at columns 0 and 8: what only one of them covers is its own.
    for column, own in ((0, slice(0, 8)), (8, slice(16, 24))):
        part = (first[:, column : column + 16], second[:, column : column + 16])
        alone = make().predict(model, [part])[0].flow
        shown = alone[:, own.start - column : own.stop - column]
        np.testing.assert_allclose(result.flow[:, own], shown, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "settings", [{"tiles_per_batch": 3}, {"tiles_per_batch": 100}, {"chunk_size": 7}, {"chunk_size": 10**6}]
)
def test_neither_batches_nor_pieces_change_the_motion(model: PerceiverIO, settings: dict[str, int]) -> None:
    pair = (frame(30, 41), frame(30, 41))
    expected = make().predict(model, [pair])[0].flow
    np.testing.assert_allclose(make(**settings).predict(model, [pair])[0].flow, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("even", "columns"), [(False, [0, 12, 17]), (True, [0, 8, 17])])
def test_tiles_can_be_spread_evenly(model: PerceiverIO, even: bool, columns: list[int]) -> None:
    ramp = np.broadcast_to(np.arange(33, dtype=np.uint8)[None, :, None], (12, 33, 3))
    task = make(even_tiles=even)
    assert [int(piece["frames"][0, 0, 0, 0]) for piece in task.pieces((ramp, ramp))] == columns
    assert task.predict(model, [(ramp, ramp)])[0].num_tiles == 3


def test_frames_smaller_than_a_tile(model: PerceiverIO) -> None:
    first, second = frame(5, 9), frame(5, 9)
    result = make().predict(model, [(first, second)])[0]
    assert (result.flow.shape, result.num_tiles) == ((5, 9, 2), 1)
    padded = [np.pad(image, [(0, 7), (0, 7), (0, 0)], mode="edge") for image in (first, second)]
    np.testing.assert_allclose(
        result.flow, make().predict(model, [tuple(padded)])[0].flow[:5, :9], rtol=1e-5, atol=1e-6
    )


def test_grey_frames_are_read_as_colour(model: PerceiverIO) -> None:
    grey = [frame(*TILE, channels=1) for _ in range(2)]
    colour = [np.repeat(image, 3, axis=-1) for image in grey]
    np.testing.assert_array_equal(*(make().predict(model, [tuple(pair)])[0].flow for pair in (grey, colour)))


def test_what_one_call_takes(model: PerceiverIO, tmp_path: Path) -> None:
    frames = [frame(12, 17) for _ in range(3)]
    (tmp_path / "frames").mkdir()
    for i, image in enumerate(frames):
        Image.fromarray(image).save(tmp_path / "frames" / f"{i + 8}.png")
    flow = Pipeline(make(), model)
    single = flow(frames[0], frames[1])
    assert isinstance(single, FlowResult)
    pairs = flow([(frames[0], frames[1]), (frames[1], frames[2])])
    for several in (flow(tmp_path / "frames"), flow(np.stack(frames)), flow([frames[:2], frames[1:]])):
        for ours, expected in zip(several, pairs, strict=True):
            np.testing.assert_array_equal(ours.flow, expected.flow)
    np.testing.assert_array_equal(single.flow, pairs[0].flow)
    np.testing.assert_array_equal(flow(np.stack(frames[:2])).flow, single.flow)
    names = {"frame1": tmp_path / "frames" / "8.png", "frame2": tmp_path / "frames" / "9.png"}
    np.testing.assert_array_equal(flow.predict([names])[0].flow, single.flow)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((1, 2, 3), "takes two frames, or one sequence of them, not 3 arguments"),
        ((np.zeros((1, 4, 4, 3), np.uint8),), "an array of 1 frames has no motion; it must hold two or more"),
        ((7,), "takes two frames, a list of pairs"),
        (([frame(3, 3)],), "takes two frames, a list of pairs"),
        ((frame(12, 16), frame(12, 17)), r"differ in size: \(12, 16\) and \(12, 17\)"),
        (("absent-a.png", "absent-b.png"), "image 'absent-a.png' does not exist"),
    ],
)
def test_what_is_no_pair_is_refused(model: PerceiverIO, given: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Pipeline(make(), model)(*given)


class Shift(PerceiverIO):
    """Answers with a constant motion, whatever it reads."""

    motion = torch.tensor([1.5, -0.5])

    def forward(self, batch: Batch, where: Any = None) -> Any:
        if where is not None:
            return self.motion.expand(*where.shape, 2)
        return self.motion.expand(*batch["frames"].shape[:1], *batch["frames"].shape[2:4], 2)

    def decode(self, latents: Any, *, where: Any = None, chunk_size: int | None = None) -> Any:
        return self.forward({"frames": torch.zeros(len(latents.values), 2, *TILE, 3)})


def test_scores_are_those_of_single_pixels(tmp_path: Path) -> None:
    task = make()
    rows, scores = [], []
    for i, (height, width) in enumerate(((12, 16), (31, 20), (7, 9))):
        truth = NOISE.normal(0, 4, (height, width, 2)).astype(np.float32)
        valid = NOISE.random((height, width)) < 0.8
        write_flow(tmp_path / f"{i}.flo", truth, valid)
        rows.append(
            {"frame1": frame(height, width), "frame2": frame(height, width), "flow": str(tmp_path / f"{i}.flo")}
        )
        said = np.broadcast_to(Shift.motion.numpy(), truth.shape)
        scores.append((valid.sum(), end_point_error(said, np.where(valid[..., None], truth, 0), valid)))
    model = Shift(task.config)
    for batch_size in (1, 3):
        ours = evaluate(task, model, rows, batch_size=batch_size)
        for name, value in ours.items():
            expected = np.average([score[name] for _, score in scores], weights=[count for count, _ in scores])
            assert value == pytest.approx(expected, rel=1e-4), name
    assert set(ours) == {"epe", "px1", "px3", "px5", "fl_all"}


def test_training_cuts_tiles_out_of_frames() -> None:
    torch.manual_seed(0)
    task = make()
    rows = []
    for height, width in ((30, 40), (12, 16), (8, 20)):
        places = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(np.float32)
        image = np.concatenate([places, places[..., :1]], axis=-1).astype(np.uint8)
        rows.append({"frame1": image, "frame2": image, "flow": places})
    batch = task.augment(task.collate([task.prepare(row) for row in rows]), training=True)
    assert batch["frames"].shape == (3, 2, *TILE, 3)
    assert batch["flow"].shape == (3, *TILE, 2)
    # The flow says where each pixel was, and so does the picture: they are cut at the same place.
    for image, flow, valid in zip(batch["frames"][:, 0], batch["flow"], batch["valid"], strict=True):
        assert torch.equal(image[valid][:, :2].float(), flow[valid])
    corners = [tuple(batch["flow"][0, 0, 0].tolist())]
    for _ in range(20):
        again = task.augment(task.collate([task.prepare(rows[0])]), training=True)
        corners.append(tuple(again["flow"][0, 0, 0].tolist()))
    assert len(set(corners)) > 10
    # Frames smaller than a tile were padded, and padding does not count.
    assert batch["valid"].flatten(1).sum(dim=1).tolist() == [12 * 16, 12 * 16, 8 * 16]


def test_frames_are_read_whole_where_that_is_wanted(model: PerceiverIO) -> None:
    task = make(whole=True)
    first, second = (np.kron(frame(*TILE), np.ones((3, 2, 1), np.uint8)) for _ in range(2))
    result = task.predict(model, [(first, second)])[0]
    assert (result.flow.shape, result.num_tiles) == ((36, 32, 2), 1)
    assert [piece["frames"].shape for piece in task.pieces((first, second))] == [(2, *TILE, 3)]
    small = [image[1::3, ::2] for image in (first, second)]
    expected = resize_flow(torch.from_numpy(make().predict(model, [tuple(small)])[0].flow)[None], (36, 32))[0]
    # Shrinking mixes a little of the neighbours in.
    assert np.abs(result.flow - expected.numpy()).mean() < 0.5 * np.abs(expected.numpy()).mean()
    # A constant motion of the tile is one of so many pixels of the frames, and is scored there.
    shift = Shift(task.config)
    said = task.predict(shift, [(first, second)])[0].flow
    np.testing.assert_allclose(said, np.broadcast_to([2 * 1.5, 3 * -0.5], said.shape), rtol=1e-6)
    truth = np.broadcast_to(np.array([3, 2.5], np.float32), (36, 32, 2)).copy()
    scores = evaluate(task, shift, [{"frame1": first, "frame2": second, "flow": truth}])
    assert scores["epe"] == pytest.approx(4)


def test_training_shrinks_frames_that_are_read_whole() -> None:
    task = make(whole=True)
    rows = []
    for height, width in ((24, 32), (12, 16), (36, 16)):
        flow = np.broadcast_to(np.array([2, 3], np.float32), (height, width, 2)).copy()
        flow[: height // 2] = np.nan
        rows.append({"frame1": frame(height, width), "frame2": frame(height, width), "flow": flow})
    batch = task.augment(task.collate([task.prepare(row) for row in rows]), training=True)
    assert batch["frames"].shape == (3, 2, *TILE, 3)
    assert batch["valid"].sum(dim=(1, 2)).tolist() == [6 * 16] * 3
    for flow, valid, motion in zip(batch["flow"], batch["valid"], ([1, 1.5], [2, 3], [2, 1]), strict=True):
        torch.testing.assert_close(flow[valid], torch.tensor(motion).float().expand(96, 2))


def scenes(count: int, **options: Any) -> Splits:
    config = {"size": list(TILE), "num_train": 64, "num_test": count, **options}
    return load_data(DataConfig(source="flow-scenes", options=config), OpticalFlow.roles)


def train(folder: Path, steps: int, *, resume: bool = False) -> RunResult:
    """Train a tiny model on a few scenes, of which some are seen again."""
    task = make(loss="l1", augment={"flip": True, "colour": 0.2})
    optimizer = OptimizerConfig(learning_rate=3e-3)
    config = TrainConfig(
        max_steps=steps,
        batch_size=8,
        tracker=None,
        eval_every=10,
        optimizer=optimizer,
        schedule=ScheduleConfig(name="constant", warmup_fraction=0.0),
    )
    splits = scenes(4)
    model = seeded_model(task.config, 0)
    return Trainer(task, model, splits.train, splits.eval, config, folder, show_progress=False).run(resume=resume)


def test_training_on_scenes_learns_and_resumes_to_the_same_bits(tmp_path: Path) -> None:
    whole = train(tmp_path / "whole", 20)
    losses = [entry["loss"] for entry in whole.history if "loss" in entry]
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:3])
    train(tmp_path / "parts", 10)
    parts = train(tmp_path / "parts", 20, resume=True)
    assert [entry for entry in parts.history if entry["step"] > 10] == [
        entry for entry in whole.history if entry["step"] > 10
    ]
    ours, theirs = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "parts"))
    assert ours == theirs


@pytest.mark.parametrize(("loss", "expected"), [("epe", 5.0), ("l1", 7.0)])
def test_losses_count_known_pixels(loss: str, expected: float) -> None:
    task = make(loss=loss)
    model = Shift(task.config).train()
    truth = (Shift.motion.numpy() + np.array([3, -4])).astype(np.float32)
    flow = np.broadcast_to(truth, (*TILE, 2)).copy()
    flow[3:5] = np.nan
    item = task.prepare({"frame1": frame(*TILE), "frame2": frame(*TILE), "flow": flow})
    step = task.step(model, task.augment(task.collate([item]), training=True))
    assert float(step.loss) == pytest.approx(expected)


def known_part(share: float) -> tuple[OpticalFlow, dict[str, torch.Tensor]]:
    """Return a task and a batch of two pairs of which only a part of the motion is known, another one each."""
    task, noise = make(), np.random.default_rng(3)
    items = []
    for known in (share, share / 2):
        flow = noise.normal(size=(*TILE, 2)).astype(np.float32)
        flow[noise.random(TILE) > known] = np.nan
        items.append(task.prepare({"frame1": frame(*TILE), "frame2": frame(*TILE), "flow": flow}))
    return task, task.augment(task.collate(items), training=True)


@pytest.mark.parametrize("share", [1.0, 0.3])
def test_training_asks_for_known_pixels_only_and_has_the_loss_of_all(share: float, model: PerceiverIO) -> None:
    task, batch = known_part(share)
    valid = batch["valid"]
    with torch.no_grad():
        everything = model({"frames": batch["frames"]})
        step = task.step(copy.deepcopy(model).train(), batch)
    distances = (everything - batch["flow"]).square().sum(dim=-1).sqrt()
    assert float(step.loss) == pytest.approx(float(distances[valid].mean()), rel=1e-5)
    assert step.outputs.shape == step.targets.shape == (2, int(valid.flatten(1).sum(dim=1).max()), 2)
    known = ~step.targets.isnan().any(dim=-1)
    assert known.sum(dim=1).tolist() == valid.flatten(1).sum(dim=1).tolist()


def test_training_draws_among_known_pixels(model: PerceiverIO) -> None:
    task, batch = known_part(0.3)
    task = make(num_outputs=5)
    training = copy.deepcopy(model).train()
    torch.manual_seed(0)
    steps = [task.step(training, batch) for _ in range(60)]
    assert {step.targets.shape for step in steps} == {(2, 5, 2)}
    for row in range(2):
        drawn = {tuple(motion) for step in steps for motion in step.targets[row].tolist()}
        # All of the known motions come, and none other.
        assert drawn == {tuple(motion) for motion in batch["flow"][row][batch["valid"][row]].tolist()}
    with pytest.raises(ValueError, match=r"num_outputs \(0\) must be at least 1"):
        make(num_outputs=0)


def test_results_are_written_in_every_format(model: PerceiverIO, tmp_path: Path) -> None:
    (result,) = make().predict(model, [(frame(40, 60), frame(40, 60))])
    files = {path.name for path in result.save_all(tmp_path, "x")}
    pictures = {"x.flow.png", "x.overlay.png", "x.warped.png", "x.sheet.png"}
    assert files == {"x.flo", "x.npy", "x.kitti.png", "x.json", *pictures}
    np.testing.assert_array_equal(read_flow(tmp_path / "x.flo").flow, result.flow)
    np.testing.assert_array_equal(read_flow(tmp_path / "x.npy").flow, result.flow)
    np.testing.assert_allclose(read_flow(tmp_path / "x.kitti.png").flow, result.flow, atol=1 / 128)
    for name in pictures - {"x.sheet.png"}:
        with Image.open(tmp_path / name) as picture:
            assert picture.size == (60, 40)
    summary = json.loads((tmp_path / "x.json").read_text(encoding="utf-8"))
    assert (summary["height"], summary["width"], summary["tiles"]) == (40, 60, result.num_tiles)
    assert summary["mean_motion"] == pytest.approx(np.linalg.norm(result.flow, axis=-1).mean(), abs=1e-4)


def test_small_frames_are_enlarged_on_the_sheet() -> None:
    for size, expected in (((1, 1), 2 * 192 + 12), ((2, 3), 2 * 192 + 12), ((30, 200), 2 * 200 + 12)):
        result = FlowResult(np.ones((*size, 2), dtype=np.float32), (frame(*size), frame(*size)), 1)
        assert result.sheet().width == expected


def test_motion_that_kitti_cannot_hold_is_written_in_the_other_formats(tmp_path: Path) -> None:
    result = FlowResult(np.full((4, 6, 2), 600, dtype=np.float32), (frame(4, 6), frame(4, 6)), 1)
    files = {path.name for path in result.save_all(tmp_path, "far")}
    assert "far.flo" in files
    assert "far.kitti.png" not in files


def test_the_colour_wheel_stands_in_the_corner() -> None:
    still = FlowResult(np.zeros((100, 150, 2), dtype=np.float32), (frame(100, 150), frame(100, 150)), 1)
    picture = np.asarray(still.picture())
    assert (picture[:70, :100] == 255).all()
    # The right end of the wheel is the colour of motion to the right.
    assert picture[86, 144, 0] > 200
    assert picture[86, 144, 1] < 80


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"min_overlap": 12}, r"min_overlap \(12\) must be less than the sides of a tile \(12, 16\)"),
        ({"tiles_per_batch": 0}, r"tiles_per_batch \(0\) must be at least 1"),
        ({"chunk_size": 0}, r"chunk_size \(0\) must be at least 1"),
        ({"loss": "l3"}, r"loss = 'l3' is not one of \['epe', 'l1'\]"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**settings)


def test_models_of_another_kind_are_refused() -> None:
    with pytest.raises(ValueError, match="needs a model with flow inputs and outputs, not 'image-patches' and 'label'"):
        OpticalFlow.fit(ZOO["digits-small"].config, None, {})


def test_the_released_model_takes_the_original_tiles() -> None:
    task = OpticalFlow.fit(ZOO["optical-flow"].config, None, {})
    assert task.tile == (368, 496)
    assert (task.settings.min_overlap, task.settings.even_tiles) == (20, False)
    pieces = [piece["frames"].shape for piece in task.pieces((frame(436, 1024), frame(436, 1024)))]
    assert pieces == [(2, 368, 496, 3)] * 6
    assert override(task.settings, {"even_tiles": True}).even_tiles
