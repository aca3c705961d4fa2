"""Measure how the cost of small models grows with what they read and with what they are asked for, and draw it.

python benchmarks/linear_cost.py [PICTURE.png]

Reading: a Perceiver with 32 latents of 96 sees images of single pixels with Fourier positions, from 16x16 to 2048x2048;
beside it one self-attention layer of the same width sees the same numbers of tokens, as long as that takes less than a
few seconds. Answering: `flow-mini`'s decoder is asked for 64 to 1,048,576 pixels. Each time is the least of five, CPU
seconds of one thread; the slope is that of a straight line through the logarithms of the larger half: 1 where twice as
much costs twice as much, 2 where it costs four times as much.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

import perceivers
from perceivers.adapters.image import PixelInputConfig
from perceivers.model import PerceiverIO
from perceivers.nn.positions import FourierPositionConfig, PositionedConfig
from perceivers.zoo import ZOO

SIDES = (16, 32, 64, 128, 256, 512, 1024, 2048)
QUADRATIC_SIDES = (16, 32, 64, 128)
OUTPUTS = tuple(4**power for power in range(3, 11))
REPEATS = 5
# Outputs that are asked for at a time, so that their memory stays small.
CHUNK = 16_384


def cost(run: Callable[[], object]) -> float:
    """Return CPU seconds of a call, the least of a few."""
    run()
    times = []
    for _ in range(REPEATS):
        began = time.process_time()
        run()
        times.append(time.process_time() - began)
    return min(times)


def slope(curve: dict[int, float]) -> float:
    """Return the power with which the larger half of a curve grows."""
    half = len(curve) // 2
    sizes, seconds = (np.log(list(values)[half:]) for values in (curve.keys(), curve.values()))
    return float(np.polyfit(sizes, seconds, 1)[0])


def reading() -> dict[int, float]:
    """Return seconds by number of pixels read."""
    found = {}
    for side in SIDES:
        inputs = PixelInputConfig(
            image_size=(side, side),
            mean=(0.5,),
            std=(0.25,),
            positioned=PositionedConfig(positions=FourierPositionConfig(num_bands=8, max_resolution=(side, side))),
        )
        model = PerceiverIO(replace(ZOO["image-small"].config, inputs=inputs)).eval()
        images = torch.rand(1, side, side, 3)
        found[side * side] = cost(lambda model=model, images=images: model({"image": images}))
        report("read", side * side, found[side * side])
    return found


def attending() -> dict[int, float]:
    """Return seconds by number of tokens that attend to each other."""
    layer = torch.nn.TransformerEncoderLayer(96, 4, 192, batch_first=True).eval()
    found = {}
    for side in QUADRATIC_SIDES:
        tokens = torch.rand(1, side * side, 96)
        found[side * side] = cost(lambda tokens=tokens: layer(tokens))
        report("attend to each other", side * side, found[side * side])
    return found


def answering() -> dict[int, float]:
    """Return seconds by number of outputs asked for."""
    model = perceivers.load("flow-mini")
    latents = model.encode(model.inputs.example_batch(1))
    pixels = int(np.prod(model.inputs.grid_shape or ()))
    found = {}
    for count in OUTPUTS:
        parts = (torch.arange(count) % pixels).split(CHUNK)
        found[count] = cost(lambda parts=parts: [model.decode(latents, where=part) for part in parts])
        report("answer", count, found[count])
    return found


def report(what: str, size: int, seconds: float) -> None:
    """Print one measurement."""
    print(f"{what:22} {size:>10,} {1000 * seconds:>10.1f} ms", flush=True)


def draw(curves: dict[str, dict[int, float]], path: str) -> None:
    """Draw the curves, both axes logarithmic."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), dpi=130, layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    places = {"read": left, "attend to each other": left, "answer": right}
    for (name, curve), colour in zip(curves.items(), ("#2563a8", "#c2480c", "#1f7a4d"), strict=True):
        label = f"{name}, slope {slope(curve):.2f}"
        places[name].plot(list(curve), list(curve.values()), marker="o", color=colour, label=label)
    for axes, title in ((left, "elements read"), (right, "outputs asked for")):
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel(title)
        axes.grid(color="#d9dee5", linewidth=0.7)
        axes.legend(fontsize=8, loc="lower right")
    left.set_ylabel("CPU seconds, one thread")
    figure.savefig(path)


if __name__ == "__main__":
    torch.set_num_threads(1)
    with torch.inference_mode():
        measured = {"read": reading(), "attend to each other": attending(), "answer": answering()}
    for name, curve in measured.items():
        print(f"{name}: slope {slope(curve):.2f}")
    if len(sys.argv) > 1:
        draw(measured, sys.argv[1])
