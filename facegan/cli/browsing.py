"""The command that opens the browser studio."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facegan.cli.options import Device
from facegan.terminal import say, whole_number


def studio(
    model: Annotated[
        list[str] | None,
        typer.Option(help="A model to choose in the studio; repeatable; default: all shipped ones."),
    ] = None,
    port: Annotated[int, typer.Option(parser=whole_number, metavar="N", help="0: any that is free.")] = 7860,
    host: Annotated[str, typer.Option(help="0.0.0.0 lets others on the network in.")] = "127.0.0.1",
    gallery: Annotated[
        Path | None, typer.Option(help="Folder of the kept faces; default: in the user's data folder.")
    ] = None,
    runs: Annotated[Path, typer.Option(help="Folder of training runs to watch.")] = Path("runs"),
    device: Device = "auto",
) -> None:
    """Make, mix, film and edit faces in the browser."""
    from facegan.serve.listening import LOCAL_HOSTS, bound, shown
    from facegan.serve.studio.desk import Desk
    from facegan.serve.studio.gallery import Gallery, default_folder
    from facegan.serve.studio.page import gradio, serve

    desk = Desk(model or (), gallery=Gallery(gallery or default_folder()), runs=runs, device=device)
    desk.open(desk.names[0])
    gradio()
    with bound(host, port) as listener:
        if host not in LOCAL_HOSTS:
            say(f"facegan: note: --host {host}: whoever can reach this computer can use the studio")
        say(f"starting; the kept faces are in {desk.gallery.folder}; Ctrl-C ends it")
        print(f"http://{shown(host)}:{listener.getsockname()[1]}", flush=True)
        serve(desk, listener)
