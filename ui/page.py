"""The page: its tabs and its language. Gradio is imported by this module alone, and by the tabs that it imports."""

import os
from pathlib import Path

# Read while Gradio is imported.
os.environ.update(GRADIO_ANALYTICS_ENABLED="False", HF_HUB_OFFLINE="1")

import gradio as gr
import uvicorn
from fastapi import FastAPI

from ui import models, network, texts
from ui.plots_tab import PlotsTab
from ui.shared import QUIETLY, Shared
from ui.try_tab import UPLOAD, TryTab
from ui.wrong_tab import WrongTab

BROWSERS_LANGUAGE = "() => navigator.language.startsWith('tr') ? 'tr' : 'en'"
SPOKEN = "(language) => { document.documentElement.lang = language; }"  # by screen readers


class Page:
    """The page.

    Args:
        output: folder with the models and their plots.
        data_dir: folder with the data sets; None looks at the usual places.
        folder: takes drawings, the camera's pictures and test images.
        collected: takes the pictures that visitors ask to keep, see ui.collect.
    Raises:
        UserError: there is no model.
    """

    def __init__(self, output: Path, data_dir: str | None, folder: Path, collected: Path):
        shared = Shared(models.found(output), data_dir, folder, collected)
        with gr.Blocks(title=texts.say("title", texts.ENGLISH), delete_cache=(3600, 3600)) as self.blocks:
            with gr.Row(elem_id="head"):
                shared.add(gr.Markdown, self.introduction, elem_id="intro")
                languages = list(texts.LANGUAGES.items())
                shared.language = shared.make(
                    gr.Radio, {"label": "language"}, choices=languages, value=texts.ENGLISH, elem_id="language"
                )
            with shared.make(gr.Tab, {"label": "tab_try"}):
                TryTab(shared, self.blocks)
            with shared.make(gr.Tab, {"label": "tab_wrong"}) as tab:
                WrongTab(shared, tab)
            with shared.make(gr.Tab, {"label": "tab_plots"}):
                PlotsTab(shared, self.blocks)
            shared.translate()
            self.blocks.load(None, None, shared.language, js=BROWSERS_LANGUAGE, **QUIETLY)
            shared.language.change(None, shared.language, None, js=SPOKEN, **QUIETLY)

    @staticmethod
    def introduction(language: str) -> dict[str, str]:
        return {"value": f"# {texts.say('title', language)}\n{texts.say('intro', language)}"}

    def serve(self, host: str, port: int, files: Path, password: str | None) -> None:
        """Serve the page until Ctrl-C; the arguments are those of network.Guard."""
        css = Path(__file__).with_suffix(".css").read_text(encoding="utf-8")
        look = {"css": css, "theme": gr.themes.Default(primary_hue="blue"), "footer_links": []}
        limits = {"max_file_size": UPLOAD, "ssr_mode": False, "run_history": False, "show_error": False}
        # A session keeps what was shown to it; a visitor who is back after so many others begins anew.
        self.blocks.state_session_capacity = network.CONNECTIONS
        self.blocks.queue(max_size=network.CONNECTIONS)
        app = gr.mount_gradio_app(FastAPI(openapi_url=None), self.blocks, "/", **look, **limits)
        # Else Gradio would not look whether a file that a request names is an upload (its _check_allowed).
        self.blocks.has_launched = True
        address = f"[{host}]" if ":" in host else host
        print(f"http://{address}:{port} (Ctrl-C ends it)", flush=True)
        uvicorn.run(
            network.Guard(app, host, files, password),
            host=host,
            port=port,
            log_level="warning",
            ws="none",
            limit_concurrency=network.CONNECTIONS,
            timeout_graceful_shutdown=1,  # seconds; an open tab holds its connection for ever
        )
