"""The command line, ``xmpp-e2ee``: one file a noun.

Rule: how commands end is decided here, once for all of them; what they do stands in their files.
"""

from __future__ import annotations

import sys
from io import TextIOWrapper
from typing import Any, Final

import click

from e2ee.errors import E2eeError
from xmpp_e2ee.cli.archive import archive
from xmpp_e2ee.cli.demo import demo
from xmpp_e2ee.cli.key import key
from xmpp_e2ee.cli.screen import end_unread
from xmpp_e2ee.cli.store import store
from xmpp_e2ee.store_address import without_passwords
from xmpp_e2ee.transport import StanzaRefused

__all__ = ["main"]

_INTERRUPTED: Final = 130  # 128 + SIGINT, as shells say


class _Failed(click.ClickException):
    """The library gave up: one line on stderr."""

    exit_code = 3


class _Program(click.Group):
    """Ends every command in one of the documented ways, never in a traceback.

    What click quotes of an argument loses its password first.
    """

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            told = error.format_message()
            if told == without_passwords(told):
                raise
            raise click.UsageError(without_passwords(told), error.ctx) from None
        except E2eeError as error:
            raise _Failed(f"{error.code}: {error}") from None
        except StanzaRefused as refusal:
            raise _Failed(str(refusal)) from None
        except BrokenPipeError:
            end_unread()
        except OSError as error:  # such as a disk that is full where the output goes
            raise _Failed(error.strerror or type(error).__name__) from None
        except (KeyboardInterrupt, click.Abort):  # the second one while somebody was asked
            raise click.exceptions.Exit(_INTERRUPTED) from None


@click.group(cls=_Program)
@click.version_option(package_name="xmpp-e2ee", prog_name="xmpp-e2ee")
def main() -> None:
    """End-to-end encryption for XMPP pubsub."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without Unicode shows what it can


main.add_command(archive)
main.add_command(demo)
main.add_command(key)
main.add_command(store)
