"""Pictures that a caller names by URL, where whoever runs the service allows it.

Everything that `service.outbound` refuses is refused here, redirects included. What cannot be reached and what may not be reached is answered alike,
so that nobody learns from us what stands behind our firewall.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from urllib.parse import unquote

import httpx

from service.errors import IMAGE_URL_FAILED, IMAGE_URL_REFUSED, IMAGE_URLS_OFF, ProblemError
from service.filenames import safe_filename
from service.limits import Limits
from service.outbound import (
    CONNECT_TIMEOUT_S,
    MAX_REDIRECTS,
    AddressRefusedError,
    Network,
    PublicTransport,
    check_url,
)
from service.webhooks import USER_AGENT

IMAGE_URL_FIELD = "image_url"
MAX_URL_CHARACTERS = 2048
DEADLINE_S = 120.0
"""For the whole picture, redirects included: meanwhile a client waits for its answer, and has one of the upload's places."""
HEADERS = {"User-Agent": USER_AGENT, "Accept": "image/*", "Accept-Encoding": "identity"}
"""Nothing of a caller's goes to another host."""

UNREACHABLE = "Its host cannot be reached from here."


class ImageUrls:
    """Fetches pictures from the public internet, or refuses to."""

    def __init__(self, *, enabled: bool = False, allowed: Iterable[Network] = ()) -> None:
        """`allowed`: networks of the operator's own that pictures may come from too."""
        self.enabled = enabled
        self._transport = PublicTransport(allowed) if enabled else None

    def check_enabled(self) -> None:
        """Raises ProblemError where no URL is taken."""
        if self._transport is None:
            raise ProblemError(IMAGE_URLS_OFF)

    async def chunks(self, address: str, limits: Limits) -> AsyncGenerator[bytes, None]:
        """The picture at that URL, in pieces. Raises ProblemError."""
        self.check_enabled()
        try:
            async with asyncio.timeout(DEADLINE_S):
                response = await self._found(_url(address), limits)
                async with aclosing(response):
                    async for chunk in response.aiter_raw():
                        yield chunk
        except TimeoutError as error:
            raise ProblemError(IMAGE_URL_FAILED, f"It took longer than {DEADLINE_S:.0f} s.") from error
        except httpx.TimeoutException as error:
            raise ProblemError(IMAGE_URL_FAILED, "Its host does not answer.") from error
        except (AddressRefusedError, httpx.ConnectError) as error:
            raise ProblemError(IMAGE_URL_FAILED, UNREACHABLE) from error
        except httpx.TransportError as error:
            raise ProblemError(
                IMAGE_URL_FAILED, "The connection broke before the picture had come."
            ) from error

    async def _found(self, url: httpx.URL, limits: Limits) -> httpx.Response:
        assert self._transport is not None
        idle_s = limits.upload_idle_timeout_s
        timeout = httpx.Timeout(idle_s, connect=CONNECT_TIMEOUT_S).as_dict()
        for _ in range(1 + MAX_REDIRECTS):
            request = httpx.Request("GET", url, headers=HEADERS, extensions={"timeout": timeout})
            response = await self._transport.handle_async_request(request)
            if not response.has_redirect_location:
                return await _checked(response)
            await response.aclose()
            try:
                url = url.join(response.headers["location"])
            except httpx.InvalidURL as error:
                raise ProblemError(IMAGE_URL_FAILED, "It leads to something that is no URL.") from error
        raise ProblemError(IMAGE_URL_FAILED, f"It leads elsewhere more than {MAX_REDIRECTS} times.")


async def _checked(response: httpx.Response) -> httpx.Response:
    reason = None
    if response.status_code != httpx.codes.OK:
        reason = f"Its host answers {response.status_code}."
    elif response.headers.get("content-encoding", "identity").lower() != "identity":
        reason = "Its host sends it compressed, though it was asked not to."
    if reason:
        await response.aclose()
        raise ProblemError(IMAGE_URL_FAILED, reason)
    return response


def filename_of(address: str) -> str:
    """The last part of the URL's path, made harmless; may be empty.

    >>> filename_of("https://example.org/a%20photo.jpg?size=large")
    'a photo.jpg'
    """
    return safe_filename(unquote(httpx.URL(address).path))


def _url(address: str) -> httpx.URL:
    try:
        url = httpx.URL(address)
        check_url(url)
    except httpx.InvalidURL as error:
        raise ProblemError(IMAGE_URL_REFUSED) from error
    except AddressRefusedError as error:
        raise ProblemError(IMAGE_URL_REFUSED, str(error)) from error
    return url
