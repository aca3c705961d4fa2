"""`perceivers plan`: its options, and the tables it prints."""

from typing import TYPE_CHECKING, Annotated

import typer

from perceivers.cli.options import Json, Plugins, examples, pairs

if TYPE_CHECKING:
    from perceivers.planning import Comparison, Plan

EXAMPLES = examples(
    "perceivers plan image-fourier",
    "perceivers plan optical-flow --image-size 436x1024",
    "perceivers plan language --length 512 --batch-size 8 --training",
    "perceivers plan image-fourier --set encoder.num_latents=64 --json",
    "perceivers plan runs/digits",
)

Name = Annotated[
    str,
    typer.Argument(
        metavar="MODEL", help="Zoo name, or a folder with a model's config.json; no weights needed.", show_default=False
    ),
]
Examples = Annotated[int, typer.Option(min=1, help="Examples a batch.")]
ImageSize = Annotated[
    str | None, typer.Option(metavar="HxW", help="Size of images in pixels; optical flow cuts larger ones into tiles.")
]
Length = Annotated[int | None, typer.Option(min=1, help="Length of texts in bytes; the longest when not given.")]
Outputs = Annotated[str, typer.Option(metavar="N|all", help="How many outputs to ask for.")]
ChunkSize = Annotated[
    int | None, typer.Option(min=1, help="Outputs to ask for at a time; chosen by their number when not given.")
]
Training = Annotated[bool, typer.Option("--training", help="Count the backward pass and the optimiser too.")]
Format = Annotated[str, typer.Option(metavar="float32|bfloat16", help="Number format.")]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Change a field of the model, e.g. encoder.num_latents=64."),
]
NoTime = Annotated[bool, typer.Option("--no-time", help="Do not measure this machine.")]


def plan(
    model: Name,
    batch_size: Examples = 1,
    image_size: ImageSize = None,
    length: Length = None,
    outputs: Outputs = "all",
    chunk_size: ChunkSize = None,
    training: Training = False,
    dtype: Format = "float32",
    set_: Changes = None,
    no_time: NoTime = False,
    plugin: Plugins = None,
    as_json: Json = False,
) -> None:
    """Say what a model costs: parameters, FLOPs, memory, time on this machine. It needs no weights."""
    from perceivers.cli import show
    from perceivers.cli.plugins import import_plugins
    from perceivers.planning import DTYPES, compare
    from perceivers.planning import plan as make_plan
    from perceivers.train.recipe import parse_yaml

    import_plugins(plugin or [])
    if dtype not in DTYPES:
        raise ValueError(f"dtype '{dtype}' not found; choices = {list(DTYPES)}")
    overrides = {path: parse_yaml(value, f"--set {path}") for path, value in pairs(set_, "--set").items()}
    found = make_plan(
        model,
        batch_size=batch_size,
        image_size=None if image_size is None else _size(image_size),
        length=length,
        num_outputs=None if outputs == "all" else _number(outputs),
        chunk_size=chunk_size,
        training=training,
        dtype=dtype,
        overrides=overrides,
        measure=not no_time,
    )
    # The paper's figures are of one example, as the models were released.
    as_released = batch_size == 1 and not (image_size or length or training or overrides) and outputs == "all"
    comparisons = compare(model, found.flops) if as_released else []
    if as_json:
        show.json_line({**found.to_json(), "paper": [_paper_entry(entry) for entry in comparisons]}, indent=2)
        return
    _print_stages(found)
    _print_totals(found)
    if comparisons:
        _print_paper(comparisons)


def _size(text: str) -> tuple[int, int]:
    height, cross, width = text.partition("x")
    if not (cross and height.isdecimal() and width.isdecimal() and int(height) and int(width)):
        raise ValueError(f"--image-size '{text}' must have the form HxW, e.g. 436x1024")
    return int(height), int(width)


def _number(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise ValueError(f"--outputs '{text}' must be a number from 1, or all")
    return int(text)


def _print_stages(found: "Plan") -> None:
    from perceivers.cli import show

    rows = [
        [
            stage.name,
            show.shape_text(stage.shape),
            show.amount(stage.flops),
            f"{stage.flops / max(found.flops, 1):.1%}",
            show.memory(stage.activation_bytes),
            "" if stage.seconds is None else _seconds(stage.seconds),
        ]
        for stage in found.stages
    ]
    numbers = ["FLOPs", "share", "memory", "time"]
    show.table(["stage", "gives", *numbers], rows, right=numbers)


def _print_totals(found: "Plan") -> None:
    from perceivers.cli import show

    state = "weights"
    if found.training:
        state = f"weights; gradients {show.memory(found.gradient_bytes)}, AdamW {show.memory(found.optimizer_bytes)}"
    pieces = "all at once" if found.chunk_size is None else f"{found.chunk_size} at a time"
    rows = [
        ["parameters", f"{found.parameters:,}"],
        ["outputs", f"{found.num_outputs:,}, {pieces}"],
        ["FLOPs", f"{found.flops:,}"],
        ["activations", show.memory(found.activation_bytes)],
        ["", f"{show.memory(found.plain_activation_bytes)} with the attention matrix in memory"],
        ["peak memory", f"{show.memory(found.peak_bytes)} with {show.memory(found.parameter_bytes)} of {state}"],
    ]
    if found.num_tiles > 1:
        rows.insert(2, ["tiles", f"{found.num_tiles}, one after the other; FLOPs and time are of all"])
    if found.machine is not None and found.seconds is not None:
        machine = found.machine
        rates = f"{show.amount(machine.flops_per_second, 'FLOP/s')}, {show.amount(machine.bytes_per_second, 'B/s')}"
        rows += [
            ["expected time", _seconds(found.seconds)],
            ["", f"measured: {rates}"],
            ["", f"{machine.dtype}, {machine.num_threads} threads"],
        ]
    show.out().print()
    show.table(["total", ""], rows)


def _print_paper(comparisons: "list[Comparison]") -> None:
    from perceivers.cli import show

    rows: list[list[str]] = []
    for entry in comparisons:
        words = [entry.published.what, entry.published.why] if entry.published.why else [entry.published.what]
        if entry.matching_flops is not None and entry.matching_deviation is not None:
            words.append(f"({show.amount(entry.matching_flops)}, {entry.matching_deviation:+.1%}).")
        rows.append(
            [
                show.amount(entry.published.flops),
                show.amount(entry.flops),
                f"{entry.deviation:+.1%}",
                ": ".join(words[:2]) + "".join(f" {word}" for word in words[2:]),
            ]
        )
    show.out().print()
    show.table(["paper", "here", "deviation", "what the paper counts"], rows, right=["paper", "here", "deviation"])


def _paper_entry(entry: "Comparison") -> dict[str, object]:
    return {
        "what": entry.published.what,
        "flops": int(entry.published.flops),
        "our_flops": entry.flops,
        "deviation": entry.deviation,
        "why": entry.published.why,
        "matching_flops": entry.matching_flops,
        "matching_deviation": entry.matching_deviation,
        "matching_parameters": entry.matching_parameters,
    }


def _seconds(seconds: float) -> str:
    return f"{1000 * seconds:.1f} ms" if seconds < 1 else f"{seconds:.1f} s"
