"""Text over TCP, decoded read by read, or by a decoder that keeps what is left of a character."""

from __future__ import annotations

import asyncio
import codecs

TEXT = "日本語の文字は三バイト。" * 500


async def decode_reads(reader: asyncio.StreamReader, errors: str) -> tuple[str, int]:
    """Decode each read for itself; return the text, and how many reads could not be decoded."""
    text, torn = "", 0
    while data := await reader.read(100):
        try:
            text += data.decode("utf-8", errors)
        except UnicodeDecodeError:
            torn += 1
    return text, torn


async def decode_stream(reader: asyncio.StreamReader) -> tuple[str, int]:
    """Decode with a decoder that keeps the beginning of a character for the next read."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    text = ""
    while data := await reader.read(100):
        text += decoder.decode(data)
    return text + decoder.decode(b"", final=True), 0


async def converse(way: str = "strict") -> dict[str, float]:
    """Send the text over the loopback, and tell what came of it."""
    came: asyncio.Future[tuple[str, int]] = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.set_result(await (decode_stream(reader) if way == "stream" else decode_reads(reader, way)))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
        writer.write(TEXT.encode())
        await writer.drain()
        writer.close()
        text, torn = await came
    return {
        "characters_sent": len(TEXT),
        "characters_right": sum(one != "\ufffd" for one in text),
        "replaced": text.count("\ufffd"),
        "torn_reads": torn,
        "equal": text == TEXT,
    }
