"""`transformers` with the same weights, given what its own processors give."""

import time
from collections.abc import Callable
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor

from perceivers.adapters.base import grid_size
from perceivers.adapters.flow import FlowInputConfig, neighbourhoods
from perceivers.adapters.image import GridQueryConfig, ImageInputConfig
from perceivers.adapters.label import LabelInputConfig
from perceivers.adapters.multimodal import MultimodalInputConfig, MultimodalQueryConfig
from perceivers.adapters.text import TextInputConfig
from perceivers.benchmark.cases import Case
from perceivers.benchmark.inputs import Batch, example, task_of
from perceivers.benchmark.ours import LEARNING_RATE
from perceivers.benchmark.runs import Run
from perceivers.benchmark.weights import random_model
from perceivers.model import PerceiverConfig
from perceivers.pretrained.hf import describe, to_state_dict
from perceivers.processing.text import ByteTokenizer


def make(case: Case) -> Run:
    """Return `case` with `transformers`."""
    task = task_of(case)
    batch, _ = example(case, task)
    hf_model = _model(case)
    if case.training:
        return _training(hf_model.train(), _inputs(case, batch), batch["label"])
    if case.task == "video-autoencoding":
        return _in_chunks(hf_model, case, batch)
    if case.text:
        return _sentence(hf_model, case, batch)
    inputs = _inputs(case, batch)
    return Run(once=lambda: _answer(hf_model, inputs))


@torch.inference_mode()
def _answer(hf_model: Any, inputs: dict[str, Any]) -> Any:
    return hf_model(**inputs).logits


def _model(case: Case) -> Any:
    import transformers

    model = random_model(case)
    class_name, fields = describe(model, exact=False)
    # As in the released configs: the port's own form of the GELU, which is also its fastest.
    config = transformers.PerceiverConfig(**{**fields, "hidden_act": "gelu"})
    with torch.device("meta"):
        hf_model = getattr(transformers, class_name)(config)
    hf_model.load_state_dict(to_state_dict(model), assign=True)
    return hf_model.eval()


def _training(hf_model: Any, inputs: dict[str, Any], labels: Tensor) -> Run:
    # As its trainer does by default.
    optimizer = torch.optim.AdamW(hf_model.parameters(), lr=LEARNING_RATE, fused=True)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        hf_model(**inputs, labels=labels).loss.backward()
        optimizer.step()

    return Run(once=step)


def _in_chunks(hf_model: Any, case: Case, batch: Batch) -> Run:
    """Run the whole model once for each chunk of outputs, as the port's documentation does."""
    inputs = _inputs(case, batch)
    queries = case.config.queries
    assert isinstance(queries, MultimodalQueryConfig)
    sizes: dict[str, int] = {}
    for name, port_name in (("video", "image"), ("audio", "audio")):
        part = queries.queries[name]
        assert isinstance(part, GridQueryConfig)
        sizes[port_name] = grid_size(part.grid_shape) // case.chunks

    def some() -> None:
        for chunk in range(case.timed_chunks):
            points = {name: torch.arange(chunk * size, (chunk + 1) * size) for name, size in sizes.items()}
            _answer(hf_model, {**inputs, "subsampled_output_points": {**points, "label": None}})

    note = (
        f"transformers: {case.timed_chunks} of {case.chunks} chunks timed and extrapolated; each runs the whole model"
    )
    return Run(once=some, times=case.chunks / case.timed_chunks, note=note if case.chunks > 1 else "")


def _sentence(hf_model: Any, case: Case, batch: Batch) -> Run:
    """Take the faster of what the tokenizer gives: the sentence alone, or padded to the longest text."""
    text = case.config.inputs
    assert isinstance(text, TextInputConfig)
    longest, tokenizer = text.max_length, ByteTokenizer()
    ids = torch.tensor([[tokenizer.cls_id, *batch["input_ids"][0].tolist(), tokenizer.sep_id]])
    padded = torch.nn.functional.pad(ids, (0, longest - ids.shape[1]), value=tokenizer.pad_id)
    forms = {
        name: {"inputs": form, "attention_mask": (form != tokenizer.pad_id).long()}
        for name, form in (("without padding", ids), ("padded to the longest text", padded))
    }
    seconds = {name: _seconds(lambda form=form: _answer(hf_model, form)) for name, form in forms.items()}
    name = min(seconds, key=lambda name: seconds[name])
    note = f"transformers: decodes all {longest:,} positions; given the sentence {name}, its faster form"
    return Run(once=lambda: _answer(hf_model, forms[name]), note=note)


def _seconds(run: Callable[[], Any]) -> float:
    run()
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _inputs(case: Case, batch: Batch) -> dict[str, Any]:
    return _FORMS[case.task](case.config, batch)


def normalised_images(inputs: ImageInputConfig, images: UInt8[Tensor, "B H W C"]) -> Float[Tensor, "B H W C"]:
    """Return images as processors of other libraries give them, channels last."""
    return (images / 255 - torch.tensor(inputs.mean)) / torch.tensor(inputs.std)


def flow_patches(inputs: FlowInputConfig, frames: UInt8[Tensor, "B T H W C"]) -> Float[Tensor, "B T P H W"]:
    """Return the neighbourhood of each pixel, which other libraries gather beforehand."""
    patches = neighbourhoods(frames / 127.5 - 1, inputs.patch_size)
    return rearrange(patches, "b t h w c -> b t c h w").contiguous()


def _image(config: PerceiverConfig, batch: Batch) -> dict[str, Any]:
    assert isinstance(config.inputs, ImageInputConfig)
    images = normalised_images(config.inputs, batch["image"])
    return {"inputs": rearrange(images, "b h w c -> b c h w").contiguous()}


def _flow(config: PerceiverConfig, batch: Batch) -> dict[str, Any]:
    assert isinstance(config.inputs, FlowInputConfig)
    return {"inputs": flow_patches(config.inputs, batch["frames"])}


def _clip(config: PerceiverConfig, batch: Batch) -> dict[str, Any]:
    assert isinstance(config.inputs, MultimodalInputConfig)
    label = config.inputs.inputs["label"]
    assert isinstance(label, LabelInputConfig)
    return {
        "inputs": {
            "image": rearrange(batch["video"] / 255, "b t h w c -> b t c h w").contiguous(),
            "audio": batch["audio"][..., None],
            "label": torch.zeros(len(batch["audio"]), label.num_classes),
        }
    }


def _text(config: PerceiverConfig, batch: Batch) -> dict[str, Any]:
    return {"inputs": batch["input_ids"], "attention_mask": batch["keep_mask"].long()}


_FORMS: dict[str, Callable[[PerceiverConfig, Batch], dict[str, Any]]] = {
    "image-classification": _image,
    "optical-flow": _flow,
    "video-autoencoding": _clip,
    "fill-mask": _text,
    "text-classification": _text,
}
