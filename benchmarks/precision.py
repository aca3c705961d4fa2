"""Measure what lower precision costs and gains: bf16 and int8 against float32, errors against float64.

python benchmarks/precision.py errors [MODEL ...]    the six models at full size with random weights
python benchmarks/precision.py digits                a small trained model, by its accuracy (trains for a minute)
python benchmarks/precision.py training [MODEL ...]  a training step: memory, seconds, and the optimiser's share

On the CPU. An error is relative to the root mean square of the float64 outputs, largest and mean over outputs; of
seconds, the ratio is that of float32 to the other in runs that take turns. Weights have unit gain, as the tests'
(seed 5). `errors` takes some minutes and up to 8 GiB a model, because of float64; `training` starts a process for
each way to train, and says by how much its peak memory exceeds that of the loaded model.
"""

import copy
import gc
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from perceivers.model import PerceiverConfig, PerceiverIO
from perceivers.nn.linear import Linear, pack_linears
from perceivers.precision import autocast
from perceivers.quantization import Int8Linear, quantize_int8
from perceivers.train import OptimizerConfig, evaluate, load_recipe, prepare_run
from perceivers.train.compiling import compiled_layers
from perceivers.train.optim import make_optimizer
from perceivers.zoo import ZOO

MODELS = ("language", "image-fourier", "image-learned", "image-conv", "optical-flow", "video-autoencoding")
PAIRS = 3
WAYS = ("plain", "checkpointing", "compiled", "compiled checkpointing", "bf16", "bf16 checkpointing")
STEPS = 4

Ask = Callable[[PerceiverIO], Tensor]


def main() -> None:
    """Print the table that is asked for."""
    kind, names = sys.argv[1], sys.argv[2:]
    if kind == "errors":
        for name in names or MODELS:
            errors(name)
    elif kind == "digits":
        digits()
    elif kind == "training":
        for name in names or ("image-fourier", "text-classification"):
            for way in WAYS:
                subprocess.run([sys.executable, __file__, "step", name, way], check=True)
    elif kind == "step":
        training_step(*names)
    else:
        raise ValueError(f"'{kind}' not found; choices = errors, digits, training")


@torch.inference_mode()
def errors(name: str) -> None:
    """Print errors against float64, and how many times as fast as float32 each way is."""
    model = PerceiverIO(ZOO[name].config).eval()
    fill(model)
    ask = question(name, model)
    low = {"bf16": copy.deepcopy(model)}
    low["int8 weights"] = quantize_int8(copy.deepcopy(model), int8_inputs=False)
    low["int8"] = quantize_int8(copy.deepcopy(model))
    found: dict[str, Tensor] = {}
    seconds: dict[str, list[float]] = {}
    pack_linears(model)
    ways = {"float32": model, **low}
    for turn in range(PAIRS + 1):
        for way, one in ways.items():
            began = time.perf_counter()
            with autocast(one, "bf16") if way == "bf16" else nullcontext():
                found[way] = ask(one)
            if turn:
                seconds.setdefault(way, []).append(time.perf_counter() - began)
    mib = {way: held_mib(one) for way, one in low.items()}
    whole = held_mib(model)
    ways.clear()
    low.clear()
    gc.collect()
    truth = ask(model.double()).double()
    scale = truth.square().mean().sqrt()
    for way, answers in found.items():
        error = (answers - truth).abs() / scale
        ratios = [a / b for a, b in zip(seconds["float32"], seconds[way], strict=True)]
        print(
            f"{name:19} {way:13} largest {float(error.max()):.1e}  mean {float(error.mean()):.1e}  "
            f"{median(seconds[way]):6.3f} s  ratio {median(ratios):.2f} [{min(ratios):.2f}..{max(ratios):.2f}]  "
            f"{mib.get(way, whole):4.0f} MiB of tensors",
            flush=True,
        )


def question(name: str, model: PerceiverIO) -> Ask:
    """Return what asks a model for outputs, of the size that people ask for, as one row of numbers."""
    batch = model.inputs.example_batch(1)
    where: Any = None
    if name == "language":
        batch = {"input_ids": torch.randint(6, 262, (1, 2048))}
    elif name == "video-autoencoding":
        points = {"video": torch.randint(16 * 224 * 224, (6272,)), "audio": torch.randint(1920, (480,))}
        where = {**points, "label": torch.tensor([0])}

    def ask(one: PerceiverIO) -> Tensor:
        dtype = one.encoder.latents.dtype
        inputs = {key: value.to(dtype) if value.is_floating_point() else value for key, value in batch.items()}
        out = one.decode(one.encode(inputs), where=where)
        return torch.cat([part.flatten() for part in (out.values() if isinstance(out, Mapping) else [out])])

    return ask


def fill(model: nn.Module) -> None:
    """Give every tensor random values of a size that trained ones have: no layer dies or saturates."""
    generator = torch.Generator().manual_seed(5)
    torch.manual_seed(0)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            noise = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
            if not tensor.is_floating_point():
                tensor.fill_(3)
            elif name.endswith("var"):
                tensor.copy_(1 + 0.1 * noise.abs())
            elif tensor.dim() > 1 and name.endswith("weight") and "embedding" not in name:
                tensor.copy_(noise / tensor[0].numel() ** 0.5)
            else:
                tensor.copy_(0.1 * noise + (tensor.dim() == 1 and name.endswith("weight")))


def held_mib(model: nn.Module) -> float:
    """Return the memory of a model's weights and buffers, and of weights that a packed form stands beside."""
    beside = [module.dense_weight() for module in model.modules() if isinstance(module, Linear) and _is_half(module)]
    return sum(tensor.nbytes for tensor in [*model.parameters(), *model.buffers(), *beside]) / 2**20


def _is_half(layer: Linear) -> bool:
    return layer.is_packed and layer.weight.dtype != torch.float32


def digits() -> None:
    """Train the model of `perceivers demo`, and print its scores in each precision."""
    run = prepare_run(load_recipe("digits", {"train.tracker": None}))
    with tempfile.TemporaryDirectory() as folder:
        trainer = run.trainer(folder, show_progress=False)
        trainer.run()
    model = trainer.averaged.eval()
    ways = {"float32": model, "bf16": model}
    ways["int8 weights"] = quantize_int8(copy.deepcopy(model), int8_inputs=False)
    ways["int8"] = quantize_int8(copy.deepcopy(model))
    for way, one in ways.items():
        with autocast(one, "bf16") if way == "bf16" else nullcontext():
            scores = evaluate(run.task, one, run.splits.eval)
        int8 = sum(module.levels.numel() for module in one.modules() if isinstance(module, Int8Linear))
        print(f"digits {way:13} {scores}  {int8:,} weights in int8")


def training_step(name: str, way: str) -> None:
    """Print memory and seconds of a training step, each the least of all but the first."""
    torch.manual_seed(0)
    model = PerceiverIO(training_config(name)).train()
    model.encoder.activation_checkpointing = "checkpointing" in way
    batch, count = training_batch(name)
    optimizer = make_optimizer(model, OptimizerConfig())
    before = status_mib("VmRSS")
    seconds, updates, peaks = [], [], []
    with compiled_layers(model, "compiled" in way):
        for _ in range(STEPS):
            with open("/proc/self/clear_refs", "w") as file:
                file.write("5")
            began = time.perf_counter()
            with torch.autocast("cpu", torch.bfloat16, enabled="bf16" in way):
                scores = model(batch).reshape(count, -1)
            functional.cross_entropy(scores.float(), torch.zeros(count, dtype=torch.long)).backward()
            seconds.append(time.perf_counter() - began)
            peaks.append(status_mib("VmHWM") - before)
            began = time.perf_counter()
            optimizer.step()
            optimizer.zero_grad()
            updates.append(time.perf_counter() - began)
    print(
        f"{name:19} {way:22} {min(seconds[1:]):6.2f} s (first {seconds[0]:6.2f} s)  AdamW {min(updates[1:]):.3f} s  "
        f"first step +{peaks[0]:5.0f} MiB, later +{max(peaks[1:]):5.0f} MiB with AdamW's moments",
        flush=True,
    )


def training_config(name: str) -> PerceiverConfig:
    """Return a released model's config, or the language model's encoder under a classifier."""
    if name != "text-classification":
        return ZOO[name].config
    language = ZOO["language"].config
    return replace(ZOO["text-classifier-small"].config, inputs=language.inputs, encoder=language.encoder)


def training_batch(name: str) -> tuple[dict[str, Tensor], int]:
    """Return a batch and how many rows it has: two images, or four texts of 2048 bytes."""
    if name == "text-classification":
        ids = torch.randint(6, 262, (4, 2048))
        return {"input_ids": ids, "keep_mask": torch.ones_like(ids, dtype=torch.bool)}, 4
    return {"image": torch.rand(2, 224, 224, 3)}, 2


def status_mib(key: str) -> float:
    """Return a figure of this process's memory as Linux counts it."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(key)) / 1024


if __name__ == "__main__":
    main()
