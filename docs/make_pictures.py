"""Draw the pictures of `architecture.md`, of `performance.md` (reading in pieces), and of optical flow and clips.

python docs/make_pictures.py
python docs/make_pictures.py MODEL FRAME1 FRAME2 FLOW
python docs/make_pictures.py MODEL

The second draws what a trained model says of a pair of frames, beside the truth; the third what comes back of the first
test clips of `clips`.
"""

import sys
from functools import reduce
from pathlib import Path

import numpy as np
from PIL import Image

import perceivers
from perceivers.data import DataConfig, load_data
from perceivers.data.flow_scenes import FlowScenes, flow_scene
from perceivers.processing.flow import read_flow
from perceivers.processing.flow_pictures import end_point_error, error_picture, flow_picture
from perceivers.tasks.drawing import below, beside, captioned

FOLDER = Path(__file__).parent / "pictures"
FONT = "font-family='Helvetica, Arial, sans-serif'"


def box(x: int, y: int, width: int, height: int, title: str, lines: list[str], fill: str) -> str:
    """Return a rounded box with a title and lines of text."""
    parts = [
        f"<rect x='{x}' y='{y}' width='{width}' height='{height}' rx='10' fill='{fill}' stroke='#33415c'/>",
        f"<text x='{x + width / 2}' y='{y + 24}' font-size='15' font-weight='bold' text-anchor='middle'>{title}</text>",
    ]
    parts += [
        f"<text x='{x + width / 2}' y='{y + 45 + 18 * i}' font-size='12' text-anchor='middle'>{line}</text>"
        for i, line in enumerate(lines)
    ]
    return "\n".join(parts)


def arrow(x1: int, y1: int, x2: int, y2: int, label: str = "", dashed: bool = False) -> str:
    """Return an arrow with a label above its middle."""
    dash = " stroke-dasharray='5 4'" if dashed else ""
    text = f"<text x='{(x1 + x2) / 2}' y='{(y1 + y2) / 2 - 7}' font-size='12' text-anchor='middle'>{label}</text>"
    line = f"<line x1='{x1}' y1='{y1}' x2='{x2}' y2='{y2}' stroke='#33415c' stroke-width='1.6'{dash}"
    return f"{line} marker-end='url(#tip)'/>" + text


def picture(width: int, height: int, parts: list[str]) -> str:
    """Return an SVG document on white."""
    tip = (
        "<defs><marker id='tip' viewBox='0 0 10 10' refX='9' refY='5' markerWidth='8' markerHeight='8' orient='auto'>"
        "<path d='M0 0 L10 5 L0 10 z' fill='#33415c'/></marker></defs>"
    )
    body = "\n".join(parts)
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' {FONT} fill='#1b263b'>\n"
        f"{tip}\n<rect width='{width}' height='{height}' fill='white'/>\n{body}\n</svg>\n"
    )


def rooms() -> str:
    """Return the picture of rooms: an arrow points to what a room imports."""
    chain = [
        ("nn", ["attention, MLP", "positions", "fast algebra"], "#e7ecef"),
        ("adapters", ["text, image, ...", "one file each"], "#cfe3f5"),
        ("decoders", ["attention,", "mean"], "#f6e3b4"),
        ("model", ["Encoder", "PerceiverIO"], "#f6e3b4"),
        ("rollout", ["attention back", "to the input"], "#e7ecef"),
        ("precision", ["bf16, fp16", "int8 weights"], "#e7ecef"),
        ("zoo", ["name to config", "data only"], "#e7ecef"),
        ("pretrained", ["save, load", "key tables"], "#e7ecef"),
        ("planning", ["cost without", "weights"], "#e7ecef"),
        ("tasks", ["prepare  loss", "metrics  present"], "#cfe3f5"),
        ("train", ["loop, optimisers", "checkpoints"], "#e7ecef"),
        ("exporting", ["ONNX", "torch.export"], "#e7ecef"),
        ("benchmark", ["time, memory", "beside others"], "#e7ecef"),
        ("cli", ["commands", "demo, report"], "#e7ecef"),
    ]
    parts = []
    for i, (title, lines, fill) in enumerate(chain):
        x = 16 + i * 128
        parts.append(box(x, 40, 104, 104, title, lines, fill))
        if i:
            parts.append(arrow(x, 92, x - 23, 92))
    parts.append(box(1100, 196, 150, 74, "processing", ["files to arrays", "and pictures"], "#dcefdc"))
    parts.append(box(1282, 196, 150, 74, "data", ["sources, checks"], "#dcefdc"))
    parts.append(box(912, 196, 150, 74, "rl", ["sets of units", "for agents"], "#e7ecef"))
    parts.append(arrow(964, 196, 964, 146))
    parts.append(box(1634, 196, 150, 74, "web", ["a page,", "one file a tab"], "#cfe3f5"))
    parts.append(arrow(1714, 146, 1714, 194))
    parts.append(arrow(1632, 214, 1276, 142))
    parts.append(arrow(1220, 146, 1185, 194))
    parts.append(arrow(1348, 146, 1353, 194))
    parts.append(
        "<text x='16' y='228' font-size='13'>An arrow points to what a room imports; none points back.</text>"
        "<text x='16' y='248' font-size='13'>Blue rooms grow by one file: a modality, a task.</text>"
        "<text x='16' y='268' font-size='13'>Green rooms are leaves: they know no model.</text>"
    )
    return picture(1800, 290, parts)


def flow() -> str:
    """Return the picture of the data flow, with shapes."""
    parts = [
        box(16, 60, 130, 84, "raw batch", ["bytes, pixels,", "frames, sound"], "#e7ecef"),
        box(206, 60, 150, 84, "input side", ["content + positions", "adapters"], "#cfe3f5"),
        box(436, 60, 150, 84, "read", ["cross-attention", "latents ask tokens"], "#f6e3b4"),
        box(666, 60, 150, 84, "process", ["self-attention", "K blocks of L layers"], "#f6e3b4"),
        box(896, 60, 150, 84, "decode", ["cross-attention", "queries ask latents"], "#f6e3b4"),
        box(1126, 60, 150, 84, "output side", ["logits, pixels, ...", "adapters"], "#cfe3f5"),
        box(896, 216, 150, 84, "query side", ["which outputs?", "where=..."], "#cfe3f5"),
        box(436, 196, 150, 66, "learned latents", ["(N, D)"], "#e7ecef"),
        arrow(146, 102, 204, 102),
        arrow(356, 102, 434, 102, "(B, M, C)"),
        arrow(586, 102, 664, 102, "(B, N, D)"),
        arrow(816, 102, 894, 102, "(B, N, D)"),
        arrow(1046, 102, 1124, 102, "(B, O, E)"),
        arrow(971, 214, 971, 146),
        "<text x='984' y='186' font-size='12'>(B, O, F)</text>",
        arrow(511, 194, 511, 146),
        "<polyline points='281,146 281,318' fill='none' stroke='#33415c' stroke-width='1.6' stroke-dasharray='5 4'/>",
        "<polyline points='281,318 971,318' fill='none' stroke='#33415c' stroke-width='1.6' stroke-dasharray='5 4'/>",
        arrow(971, 318, 971, 302, dashed=True),
        "<text x='296' y='310' font-size='12'>tokens, when queries are made from them</text>",
        "<text x='436' y='40' font-size='12'>encode: once a batch, cost linear in M</text>",
        "<text x='896' y='40' font-size='12'>decode: as often as wanted, cost linear in O</text>",
    ]
    return picture(1292, 340, parts)


def pieces() -> str:
    """Return the picture of a read in pieces: what is made, and what never is."""
    never = "fill='none' stroke='#b23a48' stroke-width='1.6' stroke-dasharray='6 4'"
    parts = [
        box(16, 96, 150, 92, "latents", ["(N, D)", "normalised"], "#e7ecef"),
        box(226, 96, 190, 92, "few vectors q'", ["(N, C)", "query and key", "projections in them"], "#f6e3b4"),
        box(476, 46, 210, 82, "content", ["(M, c), c much less than C", "pixels, patches"], "#cfe3f5"),
        box(476, 156, 210, 82, "positions", ["a table an axis: (H, C), (W, C)", "Fourier features"], "#cfe3f5"),
        box(
            752, 96, 200, 92, "scores of a piece", ["content @ q' + A[y] + B[x]", "divided by the deviation"], "#f6e3b4"
        ),
        box(1018, 96, 200, 92, "running sums", ["weights @ content", "sums over rows, columns"], "#f6e3b4"),
        box(1284, 96, 150, 92, "what was read", ["(N, C), then", "value and output", "projections"], "#e7ecef"),
        arrow(166, 142, 224, 142),
        arrow(416, 142, 750, 142),
        arrow(686, 87, 750, 118),
        arrow(686, 197, 750, 166),
        arrow(952, 142, 1016, 142),
        arrow(1218, 142, 1282, 142),
        f"<rect x='476' y='276' width='210' height='56' rx='10' {never}/>",
        "<text x='581' y='300' font-size='13' text-anchor='middle' fill='#b23a48'>never made: tokens (M, C),</text>",
        "<text x='581' y='318' font-size='13' text-anchor='middle' fill='#b23a48'>their norm, keys, values</text>",
        f"<rect x='752' y='276' width='200' height='56' rx='10' {never}/>",
        "<text x='852' y='300' font-size='13' text-anchor='middle' fill='#b23a48'>never made:</text>",
        "<text x='852' y='318' font-size='13' text-anchor='middle' fill='#b23a48'>all weights (N, M)</text>",
        "<text x='752' y='36' font-size='13'>for one piece of the M inputs after the other</text>",
        "<line x1='752' y1='44' x2='1218' y2='44' stroke='#33415c'/>",
    ]
    return picture(1450, 350, parts)


def flow_scenes() -> Image.Image:
    """Return a sheet of made-up scenes, two in a line: both frames, their motion, and what is hidden in the second."""
    config = FlowScenes(size=(72, 96), foggy=0.0)
    rows = []
    for index in range(10):
        scene = flow_scene(0, index, config)
        hidden = Image.fromarray(scene.occluded)
        panels = [*map(Image.fromarray, scene.frames), flow_picture(scene.flow), hidden.convert("RGB")]
        if index < 2:
            names = ("frame 1", "frame 2", "motion", "hidden")
            panels = [captioned(panel, name) for panel, name in zip(panels, names, strict=True)]
        rows.append(reduce(lambda left, right: beside(left, right, gap=4), panels))
    return below([beside(*pair, gap=16) for pair in zip(rows[::2], rows[1::2], strict=True)], gap=4)


def flow_training(model: str, frame1: str, frame2: str, truth: str) -> Image.Image:
    """Return a pair of frames, its true motion, what a model says, and how far that is off."""
    (result,) = perceivers.pipeline(model=model)([(frame1, frame2)])
    flow, still = read_flow(truth).flow, np.zeros_like(result.flow)
    longest = float(np.linalg.norm(flow, axis=-1).max())
    found, none = (end_point_error(answer, flow)["epe"] for answer in (result.flow, still))
    panels = {
        "frame 1": Image.fromarray(result.frames[0]),
        "frame 2": Image.fromarray(result.frames[1]),
        f"true motion, up to {longest:.3g} pixels": flow_picture(flow, longest),
        "the model's answer": flow_picture(result.flow, longest),
        f"its error, {found:.2f} pixels in the mean": error_picture(result.flow, flow),
        f"error of no motion, {none:.2f} pixels": error_picture(still, flow),
    }
    cells = [captioned(panel, name) for name, panel in panels.items()]
    return below([beside(*cells[i : i + 2]) for i in range(0, len(cells), 2)])


def clips_training(model: str) -> Image.Image:
    """Return the first two test clips of `clips`, and what comes back of them."""
    rows = load_data(DataConfig(source="clips"), ("video",), optional_roles=("label",)).eval
    results = perceivers.pipeline(model=model)([rows[i]["video"] for i in range(2)])
    return below([result.sheet() for result in results], gap=16)


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    if len(sys.argv) == 5:
        flow_training(*sys.argv[1:]).save(FOLDER / "flow_training.png", optimize=True)
        sys.exit()
    if len(sys.argv) == 2:
        clips_training(sys.argv[1]).save(FOLDER / "clips_training.png", optimize=True)
        sys.exit()
    (FOLDER / "rooms.svg").write_text(rooms(), encoding="utf-8")
    (FOLDER / "flow.svg").write_text(flow(), encoding="utf-8")
    (FOLDER / "pieces.svg").write_text(pieces(), encoding="utf-8")
    flow_scenes().save(FOLDER / "flow_scenes.png", optimize=True)
