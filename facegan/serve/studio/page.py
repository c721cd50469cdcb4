"""The studio's page: header, tabs, kept faces; mounted on a FastAPI app.

desk = Desk(gallery=Gallery(default_folder()))
mount(app, desk)                          at "/"
serve(desk, bound("127.0.0.1", 7860))     the same on an app of its own, until interrupted
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from facegan.config import UsageError, how_to_install
from facegan.serve.studio import about, animate, create, edit, mix, train
from facegan.serve.studio.common import Common, kept_html
from facegan.serve.studio.desk import Desk
from facegan.serve.studio.faces import MAX_PNG_BYTES, Face
from facegan.serve.studio.parts import JS, QUIET, Shown, picked, told

TABS = {
    "create": ("Create", create.build),
    "mix": ("Mix", mix.build),
    "animate": ("Animate", animate.build),
    "edit": ("Edit", edit.build),
    "train": ("Train", train.build),
    "about": ("About", about.build),
}
NUDGE_SECONDS = 2.0
CACHE_SECONDS = 3600  # that gradio keeps its copies of films, and what was uploaded
HINTS = {
    "create": "Click one to open it again.",
    "mix": "Click one to put it down the side of the mixtures.",
    "animate": "Click them in the order in which the film shall pass them.",
    "edit": "Click one to edit it.",
    "train": "Click one to open it in Create.",
    "about": "Click one to open it in Create.",
}
TITLE = """
# facegan studio
Faces of people who do not exist, made on this computer. Make one, keep it, mix it, film it, change it.
"""
FONTS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "sans-serif"]
PLAIN_TITLES = {  # without the coloured box of the theme
    "block_title_background_fill": "transparent", "block_title_background_fill_dark": "transparent",
    "block_title_text_color": "*body_text_color", "block_title_text_color_dark": "*body_text_color",
    "block_title_padding": "0",
}  # fmt: skip
MONOSPACE = ["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"]


def gradio() -> Any:
    """The package gradio, told to send nothing anywhere.

    Raises:
        UsageError: it is missing.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    try:
        import gradio
    except ImportError:
        raise UsageError(f"the studio needs gradio: {how_to_install('studio')}") from None
    return gradio


def page(desk: Desk) -> Any:
    """The page as gr.Blocks."""
    gr = gradio()
    cache = CACHE_SECONDS, CACHE_SECONDS  # how often gradio looks for old files, and what is old
    with gr.Blocks(title="facegan studio", analytics_enabled=False, delete_cache=cache) as blocks:
        with gr.Row(elem_id="header"):
            with gr.Column(scale=4, min_width=300):
                gr.Markdown(TITLE, elem_id="title")
            model = gr.Dropdown(
                desk.names, value=desk.names[0], label="Model", filterable=False, min_width=220, scale=1,
                visible=len(desk.names) > 1, elem_id="model",
            )  # fmt: skip
        face, opening, keys, tab = gr.State(None), gr.State(None), gr.State(()), gr.State("create")
        strip = gr.HTML(kept_html(desk), render=False, js_on_load=JS, elem_id="kept", apply_default_css=False)
        undo = gr.Button("Bring back the deleted one", visible=False, render=False, size="sm")
        placed: dict[str, Any] = {}
        with gr.Tabs() as tabs:
            for name, (label, _) in TABS.items():
                placed[name] = gr.Tab(label, id=name)
        common = Common(desk, model, face, opening, keys, tabs, placed.__getitem__, tab, strip, undo)
        for name, (_, build) in TABS.items():
            with placed[name]:
                build(desk, common)
        with gr.Row(elem_id="shelf"):
            with gr.Column(scale=4, min_width=240):
                gr.Markdown("### Kept faces")
                hint = gr.Markdown(HINTS["create"], elem_id="hint")
            undo.render()
            upload = gr.UploadButton(
                "Open a saved face", file_types=[".png"], type="filepath", size="sm", min_width=160, scale=0
            )
        strip.render()
        _wire(desk, common, hint, upload)
        blocks.load(told(common.kept), None, [strip, undo], **QUIET)
        # gradio 6 ends the stream of answers when none is due; a page that asks in this moment still takes it
        # for open, and its answer waits for the next stream, which this opens
        gr.Timer(NUDGE_SECONDS).tick(lambda: None, **QUIET)
    return blocks


def _wire(desk: Desk, common: Common, hint: Any, upload: Any) -> None:
    """The kept faces: what a click on one does, and the upload."""
    import gradio as gr

    def opened(face: Face, tab: str) -> Shown:
        """A face for the tab that is shown; the other tabs show it in Create."""
        found: Shown = {common.opening: face}
        if tab not in ("create", "mix", "animate", "edit"):
            tab = "create"
            found |= {common.tabs: gr.Tabs(selected=tab), common.tab: tab}
        # a film's faces, and a mixture's rows, leave the chosen face and the model alone
        if tab in ("create", "edit"):
            found[common.face] = face
        if tab != "animate":
            found[common.model] = face.model
        return found

    def act_on(act: str, key: str, tab: str) -> Shown:
        if act == "delete":
            desk.gallery.delete(key)
            return common.kept()
        return opened(desk.read(desk.gallery.read(key)), tab)

    def open_file(path: str, tab: str) -> Shown:
        if Path(path).stat().st_size > MAX_PNG_BYTES:
            raise UsageError(f"the file is larger than {MAX_PNG_BYTES // 2**20} MiB: not a saved face")
        return opened(desk.read(Path(path).read_bytes()), tab)

    def bring_back() -> Shown:
        desk.gallery.bring_back()
        return common.kept()

    def shows(name: str) -> Callable[[], tuple[str, str]]:
        return lambda: (name, HINTS[name])

    opens = [common.opening, common.face, common.model, common.tabs, common.tab]
    kept = [common.strip, common.undo]
    common.strip.pick(picked(act_on), [common.tab], [*opens, *kept], **QUIET)
    upload.upload(told(open_file), [upload, common.tab], opens, **QUIET)
    common.undo.click(told(bring_back), None, kept, **QUIET)
    for name in TABS:
        common.shown(name).select(shows(name), None, [common.tab, hint], **QUIET)


def mount(app: Any, desk: Desk) -> Any:
    """The FastAPI app with the studio at its root."""
    gr = gradio()
    theme = gr.themes.Soft(font=FONTS, font_mono=MONOSPACE, primary_hue="indigo", neutral_hue="slate").set(
        **PLAIN_TITLES
    )
    css = (Path(__file__).parent / "studio.css").read_text(encoding="utf-8")
    return gr.mount_gradio_app(
        app, page(desk), "/", theme=theme, css=css, footer_links=[], max_file_size=MAX_PNG_BYTES,
        ssr_mode=False, show_error=False, run_history=False, enable_monitoring=False, mcp_server=False,
    )  # fmt: skip


def serve(desk: Desk, listener: socket.socket) -> None:
    """Serves the studio until it is interrupted."""
    gradio()
    import fastapi
    import uvicorn

    class Server(uvicorn.Server):
        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            # the pages' streams never end by themselves: that they are cut off is no news
            logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
            super().handle_exit(sig, frame)

    app = mount(fastapi.FastAPI(docs_url=None, redoc_url=None, openapi_url=None), desk)
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1, server_header=False)
    Server(config).run(sockets=[listener])
