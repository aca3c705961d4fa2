"""The page, and the server that shows it."""

import socket
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import gradio as gr
from gradio.themes import Default

from perceivers.data.samples import LICENCES, sample
from perceivers.tasks.pipeline import Pipeline
from perceivers.web.limits import Limits
from perceivers.web.served import Served
from perceivers.web.tab import TABS, Tab

# In which order tabs stand; those of other tasks follow.
_ORDER = ("fill-mask", "image-classification", "optical-flow", "video-autoencoding", "audio-classification")
_INTRODUCTION = """# perceivers
One architecture reads bytes, pixels, frames and sound: it attends from a few latents to any input, thinks on the
latents, and answers any question by attending from it to them. What you give stays on the machine that runs this
page."""
# Fonts that machines have: the page asks nothing of other servers.
_FONTS = ["system-ui", "-apple-system", "Segoe UI", "sans-serif"]
_MONOSPACE = ["ui-monospace", "SFMono-Regular", "Consolas", "monospace"]
# Seconds after which files of answers are deleted, and between two looks for such.
_KEPT = 3600


def build_app(pipelines: Sequence[Pipeline], limits: Limits) -> gr.Blocks:
    """Make the page: a tab for each pipeline.

    Args:
        pipelines: Trained models, each for a task that has a tab.
        limits: What is refused.

    Raises:
        ValueError: There is no pipeline, or a task has no tab.
    """
    # Tabs register themselves.
    import perceivers.web.tabs  # noqa: F401

    if not pipelines:
        raise ValueError("no model to show; name at least one")
    tabs = [_tab(pipe, limits) for pipe in sorted(pipelines, key=lambda pipe: _place(pipe.task.name))]
    several = Counter(tab.title for tab in tabs)
    seen: Counter[str] = Counter()
    with gr.Blocks(title="perceivers", analytics_enabled=False, delete_cache=(_KEPT, _KEPT)) as page:
        gr.Markdown(_INTRODUCTION)
        for tab in tabs:
            task = tab.served.pipe.task.name
            seen[task] += 1
            title = f"{tab.title}: {tab.served.name}" if several[tab.title] > 1 else tab.title
            with gr.Tab(title):
                tab.build(task if seen[task] == 1 else f"{task}-{seen[task]}")
    page.queue(max_size=limits.queue, default_concurrency_limit=1)
    return page


@contextmanager
def serve(
    page: gr.Blocks, limits: Limits, *, host: str = "127.0.0.1", port: int | None = None, open_browser: bool = False
) -> Iterator[str]:
    """Show the page for as long as the context lasts.

    Args:
        page: What `build_app` made.
        limits: The same as the page's.
        host: Address to listen at; "0.0.0.0" lets other machines in.
        port: Its port; `None` takes a free one from 7860 on.
        open_browser: Whether to open the page in a browser.

    Yields:
        The page's address.

    Raises:
        ValueError: The port is taken.
    """
    if port is not None and not _is_free(host, port):
        raise ValueError(f"port {port} of {host} is taken; choose another one")
    _, address, _ = page.launch(
        server_name=host,
        server_port=port,
        inbrowser=open_browser,
        prevent_thread_lock=True,
        quiet=True,
        share=False,
        ssr_mode=False,
        max_file_size=limits.max_bytes,
        allowed_paths=[str(sample(LICENCES).parent)],
        footer_links=["api"],
        theme=Default(font=_FONTS, font_mono=_MONOSPACE),
        css_paths=Path(__file__).parent / "page.css",
    )
    try:
        yield address
    finally:
        page.close(verbose=False)


def _tab(pipe: Pipeline, limits: Limits) -> Tab:
    if pipe.task.name not in TABS:
        raise ValueError(f"'{pipe.origin}' is for {pipe.task.name}, which has no tab; tasks that have = {list(TABS)}")
    return TABS[pipe.task.name](Served(pipe, limits.timeout), limits)


def _is_free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def _place(task: str) -> tuple[int, str]:
    return (_ORDER.index(task) if task in _ORDER else len(_ORDER), task)
