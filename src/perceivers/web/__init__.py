"""The web demo: a page with a tab for each model, made with Gradio."""

from perceivers.web.app import build_app, serve
from perceivers.web.limits import Limits
from perceivers.web.served import Served
from perceivers.web.tab import TABS, Tab

__all__ = ["TABS", "Limits", "Served", "Tab", "build_app", "serve"]
