"""The command line, ``xmpp-e2ee``: one file a noun.

Rule: how commands end is decided here, once for all of them; what they do stands in their files.
"""

from __future__ import annotations

import sys
from io import TextIOWrapper
from typing import Any, Final

import click

from e2ee.errors import E2eeError
from xmpp_e2ee.cli.demo import demo
from xmpp_e2ee.cli.key import key
from xmpp_e2ee.cli.screen import end_unread
from xmpp_e2ee.cli.store import store
from xmpp_e2ee.transport import StanzaRefused

__all__ = ["main"]

_INTERRUPTED: Final = 130  # 128 + SIGINT, as shells say


class _Failed(click.ClickException):
    """The library gave up: one line on stderr."""

    exit_code = 3


class _Program(click.Group):
    """Ends every command in one of the documented ways, never in a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except E2eeError as error:
            raise _Failed(f"{error.code}: {error}") from None
        except StanzaRefused as refusal:
            raise _Failed(str(refusal)) from None
        except BrokenPipeError:
            end_unread()
        except (KeyboardInterrupt, click.Abort):  # the second one while somebody was asked
            raise click.exceptions.Exit(_INTERRUPTED) from None


@click.group(cls=_Program)
@click.version_option(package_name="xmpp-e2ee", prog_name="xmpp-e2ee")
def main() -> None:
    """End-to-end encryption for XMPP pubsub."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without Unicode shows what it can


main.add_command(demo)
main.add_command(key)
main.add_command(store)
