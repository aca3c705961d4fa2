"""`perceivers export`: a model as a file that runs without this library."""

from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from perceivers.cli import show
from perceivers.cli.options import Json, Numerics, Plugins, Revision, Source, examples, pairs
from perceivers.cli.plugins import import_plugins

EXAMPLES = examples(
    "perceivers export runs/digits digits.onnx",
    "perceivers export language language.onnx --fix batch=1",
    "perceivers export optical-flow flow.pt2 --all-outputs",
    "perceivers export video-autoencoding encoder.onnx --part encode",
    "perceivers export video-autoencoding decoder.onnx --part decode",
)


class FormatChoice(str, Enum):
    """Kind of the file."""

    onnx = "onnx"
    torch = "torch"


class PartChoice(str, Enum):
    """What of the model goes into the file."""

    WHOLE = "whole"
    ENCODE = "encode"
    DECODE = "decode"


def export(
    source: Source,
    target: Annotated[
        Path, typer.Argument(metavar="DST", help="File to write, .onnx or .pt2 (torch.export).", show_default=False)
    ],
    format: Annotated[
        FormatChoice | None, typer.Option("--format", help="Kind of the file; as its ending says when not given.")
    ] = None,
    part: Annotated[
        PartChoice, typer.Option(help="All of it, from the input to the latents, or from the latents to the outputs.")
    ] = PartChoice.WHOLE,
    all_outputs: Annotated[
        bool, typer.Option("--all-outputs", help="Give all outputs, in their form, instead of those at 'where'.")
    ] = False,
    fix: Annotated[
        list[str] | None,
        typer.Option("--fix", metavar="AXIS=SIZE", help="Close an open axis, e.g. batch=1; may be repeated."),
    ] = None,
    check: Annotated[bool, typer.Option("--check/--no-check", help="Run the file beside the model.")] = True,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file.")] = False,
    numerics: Numerics = None,
    revision: Revision = None,
    plugin: Plugins = None,
    as_json: Json = False,
) -> None:
    """Write a model to a file of ONNX or torch.export, which runs without this library."""
    import_plugins(plugin or [])
    report = export_model(
        source,
        target,
        {"numerics": numerics.value if numerics else None, "revision": revision},
        {
            "format": format.value if format else None,
            "part": part.value,
            "where": False if all_outputs else None,
            "fixed": _sizes(fix),
            "check": check,
            "overwrite": overwrite,
        },
    )
    if as_json:
        show.json_line(report, indent=2)
        return
    _print(report)


def export_model(source: str, target: Path, opening: dict[str, Any], writing: dict[str, Any]) -> dict[str, Any]:
    """Export a model, and return what was done, as JSON.

    Args:
        source: Where the model is.
        target: File to write.
        opening: `numerics` and `revision` of `open_source`.
        writing: Options of `perceivers.exporting.export`.

    Raises:
        ValueError: The source cannot be read, or the model cannot be written so.
    """
    from perceivers.exporting import check_target, export, format_of
    from perceivers.pretrained.source import open_source

    # Before the work, not after it.
    format_of(target, writing["format"])
    check_target(target, overwrite=writing["overwrite"])
    loaded = open_source(source, **opening)
    report = export(loaded.model.float(), target, task=loaded.task, **writing)
    return {
        "origin": loaded.origin,
        "task": None if loaded.task is None else loaded.task["name"],
        "part": report.part,
        "format": report.format,
        "file": str(report.path),
        "bytes": report.num_bytes,
        "seconds": round(report.seconds, 3),
        "inputs": {port.name: port.type_text for port in report.inputs},
        "outputs": {port.name: port.type_text for port in report.outputs},
        "checks": [{"sizes": dict(check.sizes), "error": check.error} for check in report.checks],
    }


def _print(report: dict[str, Any]) -> None:
    out = show.out()
    out.print(f"read      {report['origin']}", markup=False)
    out.print(f"task      {report['task'] or 'none'}", markup=False)
    for side in ("inputs", "outputs"):
        width = max(len(name) for name in report[side])
        for name, text in report[side].items():
            out.print(f"{side:<9} {name:<{width}}  {text}", markup=False)
    for check in report["checks"]:
        sizes = ", ".join(f"{name} {size}" for name, size in check["sizes"].items())
        out.print(f"checked   {sizes}: differs by at most {check['error']:.1e} of the root mean square", markup=False)
    if not report["checks"]:
        out.print("checked   not")
    size, seconds = show.memory(report["bytes"]), report["seconds"]
    out.print(
        f"wrote     {report['file']} ({report['format']}, {report['part']}, {size}, {seconds:.1f} s)", markup=False
    )


def _sizes(fix: list[str] | None) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for name, text in pairs(fix, "--fix").items():
        if not text.isdecimal():
            raise ValueError(f"--fix '{name}={text}' must give a whole number")
        sizes[name] = int(text)
    return sizes
