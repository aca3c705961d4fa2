"""`perceivers app`: its options."""

from typing import Annotated

import typer

from perceivers.cli.options import Device, Plugins, Precision, examples

EXAMPLES = examples(
    "perceivers app",
    "perceivers app --model language --model runs/photos --port 8080",
    "perceivers app --host 0.0.0.0 --timeout 20 --max-upload 5MB --queue 16",
)

Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        metavar="MODEL",
        help="A model to show: folder, checkpoint file, name of the zoo, repository; may be repeated. Without it, "
        "those that ship with the package.",
    ),
]
Host = Annotated[str, typer.Option(help="Address to listen at; 0.0.0.0 lets other machines in.")]
Port = Annotated[int | None, typer.Option(help="Port to listen at; a free one from 7860 on when not given.")]
MaxUpload = Annotated[str, typer.Option(metavar="SIZE", help="Largest file that is taken.")]
MaxSeconds = Annotated[float, typer.Option(help="Longest clip or sound that is read.")]
Timeout = Annotated[float, typer.Option(metavar="SECONDS", help="When an answer is given up.")]
Queue = Annotated[int, typer.Option(help="How many questions may wait; further ones are turned away.")]
Browser = Annotated[bool, typer.Option("--browser", help="Open the page in a browser.")]


def web(
    model: Models = None,
    host: Host = "127.0.0.1",
    port: Port = None,
    max_upload: MaxUpload = "20MB",
    max_seconds: MaxSeconds = 60.0,
    timeout: Timeout = 60.0,
    queue: Queue = 64,
    device: Device = "cpu",
    precision: Precision = "float32",
    browser: Browser = False,
    plugin: Plugins = None,
) -> None:
    """Show models on a web page: a tab for each, with examples, attention and time."""
    import signal
    from contextlib import suppress
    from threading import Event

    from perceivers.cli import show
    from perceivers.cli.models import ModelRequest, open_model
    from perceivers.cli.plugins import import_plugins
    from perceivers.web import Limits, build_app, serve
    from perceivers.zoo import bundled_models

    import_plugins(plugin or [])
    limits = Limits(max_upload=max_upload, max_seconds=max_seconds, timeout=timeout, queue=queue)
    names = model or [spec.name for spec in bundled_models()]
    pipelines = []
    for name in names:
        pipelines.append(open_model(ModelRequest(name=name, device=device, precision=precision)))
        show.err().print(f"model   {pipelines[-1].origin}", markup=False)
    # A service's end is as quiet as the terminal's Ctrl+C, which a process in the background would ignore.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    page = build_app(pipelines, limits)
    with suppress(KeyboardInterrupt), serve(page, limits, host=host, port=port, open_browser=browser) as address:
        show.err().print(f"page    {address} (end with Ctrl+C)", markup=False)
        Event().wait()
