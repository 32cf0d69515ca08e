"""HTTP under Data Designer's adapters through aiohttp, in the shape of the httpx client that they take.

In: one POST, its timeouts and failures in httpx's terms, which the adapters classify. Out: what is posted and what the
answer means (`resources.model_call`).

Through httpx a request took 2.9 ms of processor time, three quarters of it in httpx and httpcore, through aiohttp the
whole call takes a third of that (`benchmarks/NOTES.md`).
"""

from __future__ import annotations

import json
from typing import Any
from urllib.request import getproxies

import aiohttp
import httpx


class AiohttpClient:
    """What Data Designer's adapters use of `httpx.AsyncClient`. Made and used on one event loop."""

    def __init__(self) -> None:
        # How many connections there are is decided by the lanes.
        connector = aiohttp.TCPConnector(limit=0)
        # Looking for a proxy with each request costs a tenth of it; without one in the environment it finds none.
        self._session = aiohttp.ClientSession(connector=connector, trust_env=bool(getproxies()))

    async def post(self, url: str, *, json: Any, headers: dict[str, str], timeout: httpx.Timeout) -> httpx.Response:
        """Post JSON. Raises httpx.TransportError and its kin; a status of 300 or more is returned, not followed."""
        try:
            async with self._session.post(
                url, data=_encoded(json), headers=headers, timeout=_timeout(timeout), allow_redirects=False
            ) as answer:
                content = await answer.read()
                # The body is decompressed already.
                kept = [(name, value) for name, value in answer.headers.items() if name != "Content-Encoding"]
                return httpx.Response(answer.status, headers=kept, content=content)
        except aiohttp.ConnectionTimeoutError as error:
            raise httpx.ConnectTimeout(str(error)) from error
        except TimeoutError as error:
            raise httpx.ReadTimeout(str(error)) from error
        except aiohttp.ClientConnectorError as error:
            raise httpx.ConnectError(str(error)) from error
        except aiohttp.InvalidURL as error:
            raise httpx.UnsupportedProtocol(str(error)) from error
        except aiohttp.ClientError as error:
            # aiohttp leaves some of its messages empty.
            raise httpx.ReadError(str(error) or type(error).__name__) from error

    async def aclose(self) -> None:
        """Close every connection."""
        await self._session.close()


def _encoded(body: Any) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def _timeout(timeout: httpx.Timeout) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=None, sock_connect=timeout.connect, sock_read=timeout.read)
