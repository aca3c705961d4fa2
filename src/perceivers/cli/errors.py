"""Errors of users as one red line; everything else keeps its traceback."""

from typing import Any

import typer
from typer.core import TyperGroup

from perceivers.cli import show

# Which extra brings which module.
_EXTRAS = {
    "train": ("accelerate", "kornia", "pytorch_optimizer", "tensorboard", "sklearn"),
    "video": ("av", "soundfile"),
    "web": ("gradio",),
    "onnx": ("onnx", "onnxscript", "onnxruntime"),
}


class Commands(TyperGroup):
    """The group of all commands; turns errors of users into a line on stderr and exit code 2."""

    # Typer's context class is Click's own in older versions and a copy of it in newer ones.
    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise
        except (ValueError, OSError, ImportError) as error:
            if ctx.params.get("debug"):
                raise
            show.error_line(_missing(error) if isinstance(error, ImportError) else str(error))
            raise typer.Exit(2) from error


def _missing(error: ImportError) -> str:
    """Say what to install for a module that is not there."""
    module = (error.name or "").partition(".")[0]
    for extra, modules in _EXTRAS.items():
        if module in modules:
            return f"this needs '{module}': pip install 'perceivers[{extra}]'"
    return f"{error}; install it with: pip install {module}" if module else str(error)
