"""``kpanic test config|output|notify``: check the configuration, or whether outputs and targets answer."""

from __future__ import annotations

import os
import socket
import sys
from typing import TYPE_CHECKING

import click

from kpanic.shipper.cli import Failure
from kpanic.shipper.commands._configuration import configured, read_config
from kpanic.shipper.commands._plugins import make_inputs, make_outputs
from kpanic.shipper.terminal import say, visible

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kpanic.shipper.config import Config

__all__ = ["command"]


@click.group("test")
def command() -> None:
    """Check the configuration, or whether outputs and targets can be reached."""


@command.command("config")
@configured
def config(config_file: str | None, overrides: tuple[str, ...]) -> int:
    """Check the configuration, and whether the service can start with it as this user.

    Files that the configuration names, the folders of the store and of outputs, the files of inputs, and the
    addresses to listen at are checked.
    """
    found = read_config(config_file, overrides, ("inputs", "output", "setup", "notify"))
    for warning in found.warnings:
        say(f"kpanic: warning: {warning}")
    obstacles = list(_obstacles(found))
    for obstacle in obstacles:
        say(f"kpanic: {obstacle}")
    if obstacles:
        return 1
    names = ", ".join(plugin.name for plugin in found.outputs) or "none"
    told = "".join(f"; notifies {target.name}" for target in found.notify.targets)
    sys.stdout.write(
        f"{visible(found.source or 'no file')}: fine; store {found.store_path()}; outputs: {names}{told}\n"
    )
    return 0


def _obstacles(config: Config) -> Iterator[str]:
    """Yield the obstacles to a start."""
    from kpanic.shipper.obstacles import Tried, unbindable, unwritable  # noqa: PLC0415
    from kpanic.shipper.store import StoreError  # noqa: PLC0415
    from kpanic.shipper.store.folder import own_folder  # noqa: PLC0415
    from kpanic.shipper.store.lock import writer  # noqa: PLC0415

    inputs, outputs = make_inputs(config), make_outputs(config)
    store = config.store_path()
    if os.geteuid() == 0 and store.parent.exists() and (owner := store.parent.stat().st_uid):
        say(f"kpanic: {store.parent} belongs to uid {owner}, who runs the service: its start is not tried")
        return
    yield from unwritable(store)
    if store.parent.exists():
        try:
            with own_folder(store.parent):
                pass
        except StoreError as error:
            yield str(error)
    for output in outputs:
        if isinstance(output, Tried):
            yield from (f"output.{output.name}: {one}" for one in output.obstacles())
        output.close()
    if process := writer(store):
        say(f"kpanic: process {process} runs with this store: inputs and addresses are not tried")
        return
    for number, one in enumerate(inputs):
        if isinstance(one, Tried):
            yield from (f"inputs[{number}]: {obstacle}" for obstacle in one.obstacles())
    if config.http.enabled:
        where = f"{config.http.host}:{config.http.port}"
        yield from unbindable(socket.SOCK_STREAM, f"http: {where}", (config.http.host, config.http.port))


@command.command("notify")
@click.argument("name", required=False)
@configured
def notify(name: str | None, config_file: str | None, overrides: tuple[str, ...]) -> int:
    """Send a test message to the targets of notify, or to the one named NAME."""
    from kpanic.shipper.api import hide_secrets  # noqa: PLC0415

    targets = read_config(config_file, overrides, ("notify",)).notify.targets
    if name is not None and name not in {target.name for target in targets}:
        raise Failure(f"{name}: there is no such target in notify.targets", 2)
    if not targets:
        say("kpanic: no target is configured in notify.targets")
        return 0
    from kpanic.shipper.notify import send  # noqa: PLC0415 - an extra
    from kpanic.shipper.notify_config import service  # noqa: PLC0415

    code = 0
    host = os.uname().nodename
    for target in targets:
        if name not in {None, target.name}:
            continue
        text = f"kpanic on {host} sends this target messages of the rules {', '.join(target.rules)}."
        if failed := send(service(target), "Test message of kpanic", text):
            say(f"kpanic: {target.name}: {hide_secrets(failed)}")
            code = 1
        else:
            sys.stdout.write(f"{target.name}: took the message\n")
    return code


@command.command("output")
@click.argument("name", required=False)
@configured
def output(name: str | None, config_file: str | None, overrides: tuple[str, ...]) -> int:
    """Connect to the outputs, or to the one named NAME, as for a delivery."""
    from kpanic.shipper.api import Unavailable, hide_secrets  # noqa: PLC0415

    code = 0
    outputs = make_outputs(read_config(config_file, overrides), name)
    if not outputs:
        say("kpanic: no output is configured; crashes are kept in the store")
    for one in outputs:
        try:
            sys.stdout.write(visible(hide_secrets(one.check())) + "\n")
        except Unavailable as error:
            say(f"kpanic: {error}")
            code = 1
        finally:
            one.close()
    return code
