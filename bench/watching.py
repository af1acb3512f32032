"""Watches a queue as so many open pages do: each hears of every event, and then asks for itself
anew, at most once a second. Says `up` once all of them listen; goes on until it is killed.

`python -m bench.watching PORT PAGES`
"""

from __future__ import annotations

import asyncio
import os
import sys

_APART_S = 1.0
"""Between two looks, as in `queuectl/web/static/page.js`."""
_OFFSET = b"id: "


async def _page(port: int, listening: asyncio.Semaphore) -> None:
    stream, to_stream = await asyncio.open_connection("127.0.0.1", port)
    to_stream.write(_request("/api/v1/events", "Accept: text/event-stream"))
    await stream.readuntil(b"\r\n\r\n")
    looks, to_looks = await asyncio.open_connection("127.0.0.1", port)
    listening.release()
    heard = [b""]
    news = asyncio.Event()

    async def hear() -> None:
        while piece := await stream.read(1 << 16):
            found = piece.rfind(_OFFSET)
            if found >= 0:
                heard[0] = piece[found + len(_OFFSET) :].partition(b"\n")[0]
                news.set()

    async def look() -> None:
        while await news.wait():
            news.clear()
            to_looks.write(_request("/", f"queuectl-after: {heard[0].decode()}"))
            head = await looks.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 "), head
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            await looks.readexactly(int(length))
            await asyncio.sleep(_APART_S)

    await asyncio.gather(hear(), look())


def _request(path: str, header: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{header}\r\n\r\n".encode()


async def _watch(port: int, pages: int) -> None:
    listening = asyncio.Semaphore(0)
    tasks = [asyncio.create_task(_page(port, listening)) for _ in range(pages)]
    for _ in tasks:
        await listening.acquire()
    print("up", flush=True)
    await asyncio.gather(*tasks)


if __name__ == "__main__":
    # As if it were on other machines: who watches must not take the time of who works.
    os.nice(19)
    asyncio.run(_watch(int(sys.argv[1]), int(sys.argv[2])))
