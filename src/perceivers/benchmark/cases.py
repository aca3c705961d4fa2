"""What is measured: a table of workloads, and the sizes of the growth curves."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isqrt
from typing import Any

from perceivers.config import override
from perceivers.model import PerceiverConfig
from perceivers.zoo import ZOO


@dataclass(frozen=True, kw_only=True)
class Case:
    """One thing to run, the same for every library; it travels to the workers as JSON.

    Args:
        workload: Name of the workload.
        size: What grows, of a growth curve; `None` for the others.
        task: The task whose pipeline, or training step, is run.
        model: Name in the zoo that its model begins with.
        changes: Fields of the model's config that differ, by dotted path.
        batch_size: Examples.
        length: Bytes of a text; `None` takes the longest that the model reads.
        text: A sentence to fill; empty for random bytes and all outputs.
        hide: The word of `text` that is hidden and wanted.
        training: Measure a step of training: forward, loss, backward, AdamW.
        chunks: In how many chunks the outputs are asked for by a library that cannot keep what it has read: it runs
            the whole model for each.
        timed_chunks: How many of these are timed.
        check_error: Compare with float64.
        seed: Of weights and inputs.
        weight_scale: Factor on the weights of linear layers; 1 is unit gain.
        note: What the figures stand for, when the name does not say it.
    """

    workload: str
    size: int | None = None
    task: str
    model: str
    changes: dict = field(default_factory=dict)
    batch_size: int = 1
    length: int | None = None
    text: str = ""
    hide: str = ""
    training: bool = False
    chunks: int = 1
    timed_chunks: int = 1
    check_error: bool = True
    seed: int = 0
    weight_scale: float = 1.0
    note: str = ""

    @property
    def config(self) -> PerceiverConfig:
        """The model's config."""
        return override(ZOO[self.model].config, self.changes)

    @property
    def title(self) -> str:
        """The workload, with its size where there is one."""
        return self.workload if self.size is None else f"{self.workload} {self.size:,}"


# The classifier on top of the language model's encoder, as `transformers` has it.
_TEXT_CLASSIFIER: dict[str, Any] = {
    "queries": {"kind": "learned", "num_channels": 1280},
    "decoder": {"kind": "cross-attention", "num_heads": 1, "query_residual": True},
    "outputs": {"kind": "label", "num_classes": 2},
}

WORKLOADS: dict[str, Case] = {
    case.workload: case
    for case in (
        Case(
            workload="video",
            task="video-autoencoding",
            model="video-autoencoding",
            chunks=128,
            timed_chunks=2,
            note="16x224x224 frames and 30,720 samples, all 804,737 outputs",
        ),
        Case(workload="flow", task="optical-flow", model="optical-flow", note="one tile of 368x496"),
        Case(
            workload="fill-mask",
            task="fill-mask",
            model="language",
            text="The bees flew from flower to flower and carried pollen home.",
            hide="flower",
            note="a sentence of 60 bytes, 12 of them hidden and wanted",
        ),
        Case(workload="text", task="fill-mask", model="language", note="2,048 bytes, all outputs"),
        Case(workload="image-fourier", task="image-classification", model="image-fourier", note="224x224"),
        Case(workload="image-learned", task="image-classification", model="image-learned", note="224x224"),
        Case(workload="image-conv", task="image-classification", model="image-conv", note="224x224"),
        Case(
            workload="train-fourier",
            task="image-classification",
            model="image-fourier",
            batch_size=2,
            training=True,
            note="one step, 2 images of 224x224; the error is that of the outputs",
        ),
        Case(
            workload="train-text",
            task="text-classification",
            model="language",
            changes=_TEXT_CLASSIFIER,
            batch_size=4,
            training=True,
            note="one step, 4 texts of 2,048 bytes; the error is that of the outputs",
        ),
    )
}

# What `--quick` cuts, and how that is said.
_QUICK: dict[str, tuple[Mapping[str, Any], str]] = {
    "flow": (
        {
            "changes": {
                "inputs.image_size": [184, 248],
                "inputs.positioned.positions.max_resolution": [184, 248],
                "encoder.num_layers_per_block": 6,
            }
        },
        "quick: a quarter of the tile, 184x248, and 6 of the 24 self-attention layers",
    ),
    "train-fourier": (
        {"batch_size": 1, "changes": {"encoder.num_blocks": 2}},
        "quick: batch of 1, 2 of the 8 blocks",
    ),
    "train-text": (
        {"batch_size": 1, "changes": {**_TEXT_CLASSIFIER, "encoder.num_layers_per_block": 6}},
        "quick: batch of 1, 6 of the 26 layers",
    ),
    **{
        name: ({"changes": {"encoder.num_blocks": 4}}, "quick: 4 of the 8 blocks")
        for name in ("image-fourier", "image-learned", "image-conv")
    },
}

# Errors of growth curves are looked at up to this size: float64 by the plain path takes much memory.
_LARGEST_CHECKED = 65536
GROWTH = ("inputs", "outputs", "latents")
_LATENTS = (64, 128, 256, 512, 1024, 2048)
_SMALLEST, GROWTH_MAX = 2**10, 2**20
# Whoever says a million means the step beside it.
_ABOUT = 1.05


def find_cases(
    names: Sequence[str], *, quick: bool = False, growth: bool = False, growth_max: int = GROWTH_MAX
) -> list[Case]:
    """Return what to run.

    Args:
        names: Workloads, or growth curves; empty takes all workloads.
        quick: Cut what takes long; the notes say how.
        growth: Take the curves too; all of them where none is named.
        growth_max: About the largest number of inputs and outputs; curves go from 1,024 in steps of four.

    Raises:
        ValueError: A name is unknown.
    """
    known = [*WORKLOADS, *GROWTH]
    for name in names:
        if name not in known:
            raise ValueError(f"workload '{name}' not found; choices = {known}")
    chosen = list(names) or list(WORKLOADS)
    if growth and not set(GROWTH) & set(chosen):
        chosen += GROWTH
    cases: list[Case] = []
    for name in known:
        if name not in chosen:
            continue
        if name in GROWTH:
            cases += _growth(name, growth_max)
        else:
            cases.append(_quick(WORKLOADS[name]) if quick else WORKLOADS[name])
    return cases


def _quick(case: Case) -> Case:
    fields, said = _QUICK.get(case.workload, ({}, ""))
    return replace(case, **fields, note="; ".join(filter(None, [case.note, said])))


def _growth(name: str, largest: int) -> Iterator[Case]:
    if name == "latents":
        for count in _LATENTS:
            yield _curve(name, count, "image-fourier", {"encoder.num_latents": count, "encoder.num_blocks": 1})
        return
    size = _SMALLEST
    while size <= largest * _ABOUT:
        side = isqrt(size)
        if name == "inputs":
            changes = {"inputs.image_size": [side, side], "encoder.num_blocks": 1, "encoder.num_layers_per_block": 1}
            yield _curve(name, size, "image-fourier", changes)
        else:
            yield _curve(name, size, "video-autoencoding", _video_of(side // 4))
        size *= 4


def _video_of(side: int) -> dict[str, Any]:
    """Return a small window of a clip that is answered by 16 frames of `side` x `side` pixels."""
    blocks = {"max_resolution": [16, 8, 8]}
    return {
        "inputs.inputs.video.image_size": [32, 32],
        "inputs.inputs.video.positioned.positions.max_resolution": blocks["max_resolution"],
        "inputs.inputs.audio.num_samples": 256,
        "inputs.inputs.audio.positioned.positions.max_resolution": [256],
        "queries.queries.video.grid_shape": [16, side, side],
        "queries.queries.video.positions.max_resolution": blocks["max_resolution"],
        "queries.queries.audio.grid_shape": [16],
        "queries.queries.audio.positions.max_resolution": [256],
        "encoder.num_layers_per_block": 1,
    }


_CURVE_NOTES = {
    "inputs": "512 latents of 1024, one self-attention layer, one output",
    "outputs": "784 latents of 512, one self-attention layer, 1,040 inputs, all outputs",
    "latents": "of 1024, 50,176 inputs, 6 self-attention layers, one output",
}


def _curve(name: str, size: int, model: str, changes: Mapping[str, Any]) -> Case:
    task = ZOO[model].task
    assert task is not None
    return Case(
        workload=name,
        size=size,
        task=task,
        model=model,
        changes=dict(changes),
        check_error=size <= _LARGEST_CHECKED,
        note=_CURVE_NOTES[name],
    )
