"""Who we are to S3: credentials from settings or botocore's chain, and requests signed with SigV4 by botocore."""

from typing import Any

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials, ReadOnlyCredentials
from botocore.exceptions import BotoCoreError
from botocore.session import Session
from twisted.python.failure import Failure

from sora import aio
from sora.core.errors import ObjectStoreUnavailable
from sora.s3.settings import S3Settings


class _Auth(S3SigV4Auth):  # type: ignore[misc]
    """Signs with a payload hash that was made already (in a thread, when the payload is large)."""

    def payload(self, request: AWSRequest) -> str:
        return str(request.context["payload_hash"])


class Signer:
    """Signs requests; what may block (files, the metadata service) happens in the reactor's threads."""

    def __init__(self, settings: S3Settings, reactor: Any) -> None:
        self._settings = settings
        self._reactor = reactor
        self._credentials: Any = None
        if settings.access_key is not None:
            self._credentials = Credentials(settings.access_key, settings.secret_key, settings.session_token)
        self._resolving: aio.Once[ReadOnlyCredentials] | None = None

    async def credentials(self) -> ReadOnlyCredentials:
        """Return credentials that are valid now. Raises `ObjectStoreUnavailable` if there are none."""
        known = self._credentials
        if known is not None and not _stale(known):
            return known.get_frozen_credentials()
        if self._resolving is None:
            self._resolving = aio.Once()
            self._resolve(self._resolving)
        return await self._resolving.wait()

    def forget(self) -> None:
        """Ask the chain again next time: the server called the credentials expired."""
        if self._settings.access_key is None:
            self._credentials = None

    @property
    def renewable(self) -> bool:
        """Whether asking again can yield other credentials."""
        return self._settings.access_key is None

    def _resolve(self, once: "aio.Once[ReadOnlyCredentials]") -> None:
        def found(credentials: ReadOnlyCredentials) -> None:
            self._resolving = None
            once.fire(credentials)

        def failed(failure: Failure) -> None:
            self._resolving = None
            once.fail(failure)

        pool = self._reactor.getThreadPool()
        aio.in_thread(self._reactor, pool, self._ask).addCallbacks(found, failed)

    def _ask(self) -> ReadOnlyCredentials:
        try:
            if self._credentials is None:
                self._credentials = Session().get_credentials()
            if self._credentials is None:
                raise ObjectStoreUnavailable("no S3 credentials: neither configured nor found by botocore's chain")
            return self._credentials.get_frozen_credentials()
        except (BotoCoreError, OSError) as error:
            raise ObjectStoreUnavailable(f"S3 credentials cannot be had: {error}") from error

    def sign(
        self, credentials: ReadOnlyCredentials, method: str, url: str, headers: dict[str, str], payload_hash: str
    ) -> dict[str, str]:
        """Return the headers with date, payload hash, session token and signature; `url` is fully encoded."""
        request = AWSRequest(method=method, url=url, headers=headers)
        request.context["payload_hash"] = payload_hash
        _Auth(credentials, "s3", self._settings.region).add_auth(request)
        return dict(request.headers.items())


def _stale(credentials: Any) -> bool:
    needed = getattr(credentials, "refresh_needed", None)
    return needed is not None and bool(needed())
