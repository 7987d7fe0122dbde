"""A TCP relay before a server, which loses what it is told to lose.

Rule: bytes only; what they say is known to whoever chooses those to lose.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

__all__ = ["Relay", "relay"]


class Relay:
    """A running relay; make it with :func:`relay`.

    Attributes:
        port: on loopback.
        lose: ends a connection where the client sends it, instead of passing it on; once.
        lose_answer: ends a connection where the server answers what the client sends; once.
        instead: answers the client so where something was lost, and ends the connection later, when
            the client sends more.
        silent: passes no answer on.
        refuse: ends every new connection at once.
        lost: how often something was lost.
    """

    def __init__(self, server_port: int) -> None:
        self.port = 0
        self.lose: bytes | None = None
        self.lose_answer: bytes | None = None
        self.instead: bytes | None = None
        self.silent = False
        self.refuse = False
        self.lost = 0
        self._server_port = server_port

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Relay one connection to its end."""
        if self.refuse:
            await _close(writer)
            return
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._server_port)
        answering = asyncio.create_task(self._answer(server_reader, writer))
        try:
            await self._ask(reader, server_writer, server_reader, answering)
            if self.instead is not None:
                writer.write(self.instead)
                await reader.read(1)
        finally:
            answering.cancel()
            await _close(server_writer)
            await _close(writer)

    async def _ask(
        self,
        reader: asyncio.StreamReader,
        server_writer: asyncio.StreamWriter,
        server_reader: asyncio.StreamReader,
        answering: asyncio.Task[None],
    ) -> None:
        while sent := await reader.read(65536):
            if self.lose is not None and self.lose in sent:
                self.lost += 1
                self.lose = None
                return
            if self.lose_answer is not None and self.lose_answer in sent:
                self.lost += 1
                self.lose_answer = None
                answering.cancel()
                await asyncio.wait([answering])
                server_writer.write(sent)
                await server_reader.read(1)
                return
            server_writer.write(sent)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while answer := await reader.read(65536):
            if not self.silent:
                writer.write(answer)
        writer.close()


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


@asynccontextmanager
async def relay(server_port: int) -> AsyncIterator[Relay]:
    """Run a relay before a server on loopback for the length of the block."""
    running = Relay(server_port)
    serving: set[asyncio.Task[None]] = set()

    def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.create_task(running.serve(reader, writer)))

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    running.port = listening.sockets[0].getsockname()[1]
    try:
        yield running
    finally:
        listening.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
