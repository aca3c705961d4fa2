"""`perceivers convert`: weights from one layout to another."""

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from perceivers.cli import show
from perceivers.cli.options import Json, Numerics, Plugins, Revision, Source, examples
from perceivers.cli.plugins import import_plugins

EXAMPLES = examples(
    "perceivers convert language language-model --to perceivers",
    "perceivers convert runs/digits digits-hf --to hf",
    "perceivers convert optical-flow flow-hf --to hf --inexact",
    "perceivers convert imagenet_fourier.pystate classifier --to perceivers --num-labels 10",
)


class Layout(str, Enum):
    """How the weights are to be written."""

    hf = "hf"
    perceivers = "perceivers"


def convert(
    source: Source,
    target: Annotated[Path, typer.Argument(metavar="DST", help="Folder to write.", show_default=False)],
    to: Annotated[Layout, typer.Option(help="Layout: transformers' own, or this library's.", show_default=False)],
    numerics: Numerics = None,
    revision: Revision = None,
    num_labels: Annotated[
        int | None, typer.Option(min=1, help="Give the model a new, untrained head for so many labels.")
    ] = None,
    inexact: Annotated[
        bool, typer.Option("--inexact", help="Write for transformers what it computes otherwise, too.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the model in the folder.")] = False,
    plugin: Plugins = None,
    as_json: Json = False,
) -> None:
    """Write a model in another layout; its task (label names and settings) goes with it."""
    import_plugins(plugin or [])
    request = Request(source=source, target=target, to=to, inexact=inexact, overwrite=overwrite)
    options: dict[str, Any] = {"numerics": numerics.value if numerics else None}
    report = convert_model(request, {**options, "revision": revision, "num_labels": num_labels})
    if as_json:
        show.json_line(report, indent=2)
        return
    out = show.out()
    out.print(f"read      {report['origin']}", markup=False)
    out.print(f"numerics  {report['numerics'] or 'as saved'}")
    out.print(f"task      {report['task'] or 'none'}", markup=False)
    out.print(f"weights   {report['parameters']:,} parameters, {report['dtype']}")
    for line in report["differences"]:
        out.print(f"differs   {line}", markup=False)
    out.print(f"wrote     {report['folder']} ({report['layout']})", markup=False)


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to convert to what.

    Args:
        source: Where the model is.
        target: Folder to write.
        to: Its layout.
        inexact: Let pass what `transformers` computes otherwise.
        overwrite: Replace the model in the folder.
    """

    source: str
    target: Path
    to: Layout
    inexact: bool
    overwrite: bool


def convert_model(request: Request, options: dict[str, Any]) -> dict[str, Any]:
    """Convert, and return what was done, as JSON.

    Args:
        request: What to convert to what.
        options: `numerics`, `revision` and `num_labels` of `open_source`.

    Raises:
        ValueError: The source cannot be read, the target is taken, or `transformers` computes otherwise.
    """
    from perceivers.pretrained.folder import save_folder
    from perceivers.pretrained.hf_save import save_hf_folder
    from perceivers.pretrained.place import check_place, new_folder
    from perceivers.pretrained.source import open_source

    # Before the work, not after it.
    check_place(request.target, overwrite=request.overwrite)
    loaded = open_source(request.source, **options)
    differences: list[str] = []
    if request.to is Layout.hf:
        differences = _differences(loaded.model, loaded.task or {})
        try:
            save_hf_folder(
                loaded.model, request.target, loaded.task, exact=not request.inexact, overwrite=request.overwrite
            )
        except ValueError as error:
            raise ValueError(f"{error}{'' if request.inexact else ' (--inexact lets pass what can pass)'}") from error
    else:
        with new_folder(request.target, overwrite=request.overwrite) as folder:
            save_folder(loaded.model, folder, loaded.task)
    return {
        "origin": loaded.origin,
        "numerics": loaded.numerics,
        "task": None if loaded.task is None else loaded.task["name"],
        "parameters": sum(parameter.numel() for parameter in loaded.model.parameters()),
        "dtype": str(loaded.model.encoder.latents.dtype).removeprefix("torch."),
        "differences": differences,
        "layout": request.to.value,
        "folder": str(request.target),
    }


def _differences(model: Any, task: dict[str, Any]) -> list[str]:
    """Return what `transformers` does otherwise than the model and its task, a line each."""
    from perceivers.pretrained.hf import unlike_transformers

    lines = unlike_transformers(model)
    name = task.get("name")
    if name == "image-classification" and task.get("interpolation") == "opencv":
        lines.append("interpolation is 'opencv', transformers' image processor resizes as 'pillow' does")
    if name == "image-classification" and task.get("fit") == "center":
        lines.append("fit is 'center', transformers' image processor may cut a pixel beside it")
    if name in ("fill-mask", "text-classification") and not task.get("special_tokens"):
        lines.append("special_tokens is False, transformers' tokenizer puts [CLS] before and [SEP] after text")
    return lines
