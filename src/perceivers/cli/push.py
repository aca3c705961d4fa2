"""`perceivers push`: a trained model to the Hub."""

from pathlib import Path
from typing import Annotated

import typer

from perceivers.cli import show
from perceivers.cli.options import Json, examples

EXAMPLES = examples(
    "perceivers push runs/digits my-name/digits",
    "perceivers push runs/digits my-name/digits --private",
)


def push(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder of a saved model.", show_default=False)],
    repo_id: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="Repository to write.", show_default=False)],
    private: Annotated[bool, typer.Option("--private", help="Make the repository private, if it is new.")] = False,
    message: Annotated[str | None, typer.Option(help="What to write into the repository's history.")] = None,
    as_json: Json = False,
) -> None:
    """Publish a model on the Hugging Face Hub: weights, config, card and the record of its training."""
    from perceivers.pretrained.publish import push_to_hub

    words = {} if message is None else {"message": message}
    address = push_to_hub(folder, repo_id, private=private or None, **words)
    if as_json:
        show.json_line({"repo_id": repo_id, "commit": address}, indent=2)
        return
    show.out().print(f"wrote   {address}", markup=False, soft_wrap=True)
    show.out().print(f"use it  perceivers predict {repo_id} ...", markup=False)
