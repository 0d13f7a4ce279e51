"""Who sends a request, and whether a key is asked for."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.concurrency import run_in_threadpool
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer

from service.errors import API_KEY_INVALID, API_KEY_MISSING, ErrorKind, ProblemError
from service.keys import KeyStore
from service.limits import NO_LIMITS, Allowance

logger = logging.getLogger(__name__)

_HOW = "`enl_…`; whoever runs the service creates one by `enlarger keys create NAME`."
_BEARER = HTTPBearer(scheme_name="bearer", description=f"An API key: {_HOW}", auto_error=False)
_HEADER = APIKeyHeader(
    name="X-API-Key", scheme_name="header", description=f"An API key: {_HOW}", auto_error=False
)


class AuthMode(StrEnum):
    """Of whom a key is asked."""

    AUTO = "auto"
    """Where only this machine can connect, of everybody once there is a key; elsewhere as `required`."""
    REQUIRED = "required"
    """Of everybody, always."""
    NONE = "none"
    """Of nobody: another program in front of the service asks."""

    def on(self, host: str) -> "AuthMode":
        """What it means for a service that listens there: `auto` is left only where nobody else can connect."""
        return AuthMode.REQUIRED if self is AuthMode.AUTO and not is_loopback(host) else self


@dataclass(frozen=True)
class Caller:
    """Whoever sends a request. Callers see their own jobs only."""

    id: str = ""
    """Of the API key; empty where the service asks for none."""
    allowance: Allowance = NO_LIMITS
    """The key's own limits."""


ANYBODY = Caller()


class Gate:
    """Lets callers in."""

    def __init__(
        self, keys: KeyStore, mode: AuthMode, count: Callable[[Caller], None], *, counted: bool = True
    ) -> None:
        """`count` is told of every caller, and raises ProblemError for one that asks too often; `counted`: of those without a key too."""
        self._keys = keys
        self._mode = mode
        self._count = count
        self.open = mode is AuthMode.NONE and not counted
        """Whether everybody is let in, however often they come: nothing has to be asked of Redis."""

    @property
    def always_asks(self) -> bool:
        """Whether nobody is let in without a key, whatever keys there are."""
        return self._mode is AuthMode.REQUIRED

    def let_in(self, request: Request, key: str | None) -> Caller:
        """Whose key it is. Raises ProblemError without a key where one is needed, or with one that opens nothing."""
        caller = self._caller(key)
        self._count(caller)
        request.state.caller = caller
        return caller

    def _caller(self, key: str | None) -> Caller:
        if self._mode is AuthMode.NONE:
            return ANYBODY  # what is sent may be for the program in front
        if key is not None:
            found = self._keys.find(key)
            if found is None:
                raise _refused(API_KEY_INVALID)
            return Caller(found.id, found.allowance)
        if self._mode is AuthMode.REQUIRED or self._keys.any():
            raise _refused(API_KEY_MISSING)
        return ANYBODY


def is_loopback(host: str) -> bool:
    """Whether only this machine can connect to that address.

    >>> [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "::", "gateway")]
    [True, True, True, False, False, False]
    """
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"  # another name can mean any address, tomorrow if not today


def log_who_may_call(mode: AuthMode, host: str) -> None:
    """Say at start who may call a service that listens there, where that can surprise."""
    if mode.on(host) is AuthMode.REQUIRED:
        logger.info("every request needs an API key; create one by `enlarger keys create NAME`")
    elif mode is AuthMode.NONE and not is_loopback(host):
        logger.warning("ENLARGER_AUTH=none: whoever can connect to %s uses the service without a key", host)


def _refused(kind: ErrorKind) -> ProblemError:
    return ProblemError(kind, headers={"WWW-Authenticate": "Bearer"})


async def caller_of(
    request: Request,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)],
    header: Annotated[str | None, Security(_HEADER)],
) -> Caller:
    """The caller of a request."""
    gate: Gate = request.app.state.gate
    if gate.open:  # a thread would cost more than all that is to be done
        request.state.caller = ANYBODY
        return ANYBODY
    # Ours by name comes first: `Authorization` may be for a proxy.
    return await run_in_threadpool(gate.let_in, request, header or (bearer.credentials if bearer else None))


CallerOf = Annotated[Caller, Depends(caller_of)]
"""A route's parameter: who sends the request."""
