"""The released models' known sizes, and that every option shows in the plan."""

import json
from functools import cache
from pathlib import Path

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import perceivers
from perceivers.planning import PUBLISHED, Count, Plan, compare, count, plan
from perceivers.zoo import ZOO

# Of the released weights.
PARAMETERS = {
    "language": 201_108_230,
    "image-fourier": 48_440_627,
    "image-learned": 62_255_848,
    "image-conv": 48_646_522,
    "optical-flow": 41_057_134,
    "video-autoencoding": 19_858_855,
}


@cache
def planned(name: str, **options: object) -> Plan:
    return plan(name, measure=False, **options)  # type: ignore[arg-type]


@cache
def counted(name: str) -> Count:
    return count(ZOO[name].config)


@pytest.mark.slow
@pytest.mark.parametrize("name", PARAMETERS)
def test_released_models_have_their_parameters_and_operations(name: str) -> None:
    found = counted(name)
    assert found.parameters == PARAMETERS[name]
    with torch.device("meta"):
        model = perceivers.PerceiverIO(ZOO[name].config).eval().requires_grad_(False)
        batch = model.inputs.example_batch(1)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as reference:
        model.decode(model.encode(batch), chunk_size=32768 if name in ("optical-flow", "video-autoencoding") else None)
    assert found.flops == pytest.approx(reference.get_total_flops(), rel=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("name", PARAMETERS)
def test_deviations_from_the_paper_are_explained(name: str) -> None:
    comparisons = compare(name, counted(name).flops)
    assert len(comparisons) == len(PUBLISHED[name])
    for entry in comparisons:
        if abs(entry.deviation) > 0.02:
            assert entry.published.why
        # An explanation that names other settings must have the paper's number with them.
        if entry.matching_deviation is not None:
            assert abs(entry.matching_deviation) < 0.01
    if name == "optical-flow":
        assert comparisons[0].matching_parameters == pytest.approx(27.9e6, rel=0.002)


def test_the_papers_video_outputs_cost_what_the_explanation_says() -> None:
    config = ZOO["video-autoencoding"].config
    # Keys and values of the latents are computed for each piece, and are no part of what an output costs.
    few, more = (count(config, num_outputs=number).flops for number in (6288, 2 * 6288))
    each = (more - few) / 6288
    assert f"{each / 1e6:.2f} MFLOP" in PUBLISHED["video-autoencoding"][1].why
    assert f"{(6.85e12 - 310e9) / (804_737 - 6288) / 1e6:.2f} MFLOP" in PUBLISHED["video-autoencoding"][1].why


def test_stages_have_shapes_and_the_peak_is_in_one_of_them() -> None:
    found = planned("image-fourier")
    assert found.flops == counted("image-fourier").flops == sum(stage.flops for stage in found.stages)
    shapes = {stage.name: stage.shape for stage in found.stages}
    assert shapes == {
        "inputs": (50176, 261),
        "read": (512, 1024),
        "process": (512, 1024),
        "queries": (1, 1024),
        "decode": (1, 1024),
        "outputs": (1000,),
    }
    assert max(stage.activation_bytes for stage in found.stages) == found.activation_bytes
    assert found.parameter_bytes == pytest.approx(4 * found.parameters, rel=1e-4)
    assert found.peak_bytes == found.parameter_bytes + found.activation_bytes
    # The matrix of 512 x 50176 weights, twice, is in memory on the plain path only.
    assert found.plain_activation_bytes - found.activation_bytes > 512 * 50176 * 4
    assert (found.gradient_bytes, found.optimizer_bytes, found.seconds, found.machine) == (0, 0, None, None)


def test_batches_lengths_outputs_and_formats() -> None:
    one = planned("language-small")
    assert planned("language-small", batch_size=3).flops == 3 * one.flops
    half = planned("language-small", length=64)
    assert half.num_outputs == 64
    assert half.flops < one.flops
    few = planned("language-small", num_outputs=5)
    assert few.num_outputs == 5
    assert few.stages[-1].shape == (5, 262)
    assert few.flops < one.flops
    narrow = planned("language-small", dtype="bfloat16")
    assert 2 * narrow.parameter_bytes == one.parameter_bytes
    assert narrow.activation_bytes < 0.7 * one.activation_bytes
    assert (narrow.dtype, narrow.flops) == ("bfloat16", one.flops)


def test_chunks_bound_the_memory_and_ask_for_everything() -> None:
    whole = planned("optical-flow-small", chunk_size=96 * 128)
    pieces = planned("optical-flow-small", chunk_size=1000)
    assert (pieces.chunk_size, pieces.num_outputs) == (1000, 96 * 128)
    assert {stage.name: stage.shape for stage in pieces.stages} == {stage.name: stage.shape for stage in whole.stages}
    at_most = {stage.name: stage.activation_bytes for stage in pieces.stages}
    assert at_most["decode"] < {stage.name: stage.activation_bytes for stage in whole.stages}["decode"]
    # Very many are asked for in chunks without being told so.
    assert planned("video-autoencoding").chunk_size == 32768


def test_training_costs_about_three_times_the_operations() -> None:
    forward, training = planned("image-small", batch_size=4), planned("image-small", batch_size=4, training=True)
    assert 2.5 * forward.flops < training.flops < 3.2 * forward.flops
    assert training.stages[-1].name == "backward"
    assert training.activation_bytes > 2 * forward.activation_bytes
    assert training.gradient_bytes == 4 * training.parameters
    assert training.optimizer_bytes == 8 * training.parameters
    constant = training.parameter_bytes + training.optimizer_bytes
    assert training.activation_bytes <= training.peak_bytes - constant
    assert training.peak_bytes - constant <= training.activation_bytes + training.gradient_bytes


def test_image_sizes_and_tiles_of_flow() -> None:
    small, large = planned("image-small", image_size=(32, 48)), planned("image-small")
    assert small.stages[0].shape == (32 // 4 * 48 // 4, 98)
    assert small.flops < large.flops
    # Tiles of 96x128 that share at least 20 pixels: 2 x 3 of them.
    frame = planned("optical-flow-small", image_size=(150, 300))
    assert frame.num_tiles == 6
    assert frame.flops == 6 * planned("optical-flow-small").flops
    assert planned("optical-flow-small", image_size=(50, 60)).num_tiles == 1


@pytest.mark.slow
def test_a_frame_of_sintel_takes_six_tiles() -> None:
    sintel = planned("optical-flow", image_size=(436, 1024))
    assert sintel.num_tiles == 6
    assert sintel.flops == 6 * counted("optical-flow").flops


def test_folders_need_their_config_only(tmp_path: Path) -> None:
    perceivers.save(perceivers.build("digits-small", num_classes=3), tmp_path)
    (tmp_path / "model.safetensors").unlink()
    assert plan(tmp_path, measure=False).stages[-1].shape == (3,)
    document = {
        "model_type": "perceiver",
        "architectures": ["PerceiverForMaskedLM"],
        "d_latents": 1280,
        "qk_channels": 256,
        "v_channels": 1280,
    }
    (tmp_path / "config.json").write_text(json.dumps(document), encoding="utf-8")
    assert plan(tmp_path, measure=False).parameters == PARAMETERS["language"]
    short = plan("deepmind/language-perceiver", overrides={"encoder.num_layers_per_block": 1}, measure=False)
    assert short.flops < 30e9


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("no-such-model", {}, "model 'no-such-model' not found; choices = "),
        ("digits-small", {"batch_size": 0}, r"batch_size \(0\) must be at least 1"),
        ("digits-small", {"num_outputs": 2}, r"num_outputs \(2\) must lie between 1 and 1"),
        ("digits-small", {"length": 5}, r"length changes texts; the model reads \['image'\]"),
        ("language-small", {"image_size": (8, 8)}, r"image_size changes images; the model reads \['input_ids', "),
        ("language-small", {"length": 500}, "text of 500 tokens is longer than max_length"),
        ("image-learned", {"image_size": (8, 8)}, r"grid \(8, 8\) does not fit positions learned for"),
        ("digits-small", {"overrides": {"encoder.latents": 3}}, "no field 'latents'"),
    ],
)
def test_what_does_not_fit_is_refused(name: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plan(name, measure=False, **options)  # type: ignore[arg-type]


def test_the_time_is_measured_on_this_machine() -> None:
    found = plan("digits-small")
    assert found.machine is not None
    assert found.machine.num_threads == torch.get_num_threads()
    assert found.machine.flops_per_second > 0
    assert found.machine.bytes_per_second > 0
    assert found.seconds is not None
    seconds = [stage.seconds for stage in found.stages if stage.seconds is not None]
    assert found.seconds == pytest.approx(sum(seconds))
    # A second is far more than a toy takes anywhere, a microsecond is less than one of its operations.
    assert 1e-6 < found.seconds < 10
    # More of the same takes longer.
    larger = plan("digits-small", batch_size=2048)
    assert larger.seconds is not None
    assert larger.seconds > found.seconds
    assert json.loads(json.dumps(found.to_json()))["machine"]["num_threads"] == found.machine.num_threads
