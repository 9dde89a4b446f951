"""Providers of embeddings, by HTTP: one request for one batch, without retries.

What goes wrong is one of three things, as the queue distinguishes them.  No message
holds a text, a vector or a key.
"""

import email.utils
import http.client
import json
import threading
import time
import urllib.error
import urllib.request


class ProviderTrouble(Exception):
    """The provider does not work, or not now; the batch is not at fault."""

    def __init__(self, message, retry_after=None):
        super().__init__(message)
        self.retry_after = retry_after


class BatchTooBig(Exception):
    """The provider wants less at once."""


class BadItem(Exception):
    """Something in the batch is refused; alone, it tells what."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would take the key to another address."""

    def redirect_request(self, *args, **kwargs):
        return None


_opener = urllib.request.build_opener(_NoRedirect)


def retry_after(headers):
    """Seconds until the time that a Retry-After header names, or None."""
    value = headers.get("Retry-After")
    if value is None:
        return None
    try:
        return min(max(float(value), 0.0), 3600.0)
    except ValueError:
        pass
    try:
        return min(max(email.utils.parsedate_to_datetime(value).timestamp() - time.time(), 0.0), 3600.0)
    except (TypeError, ValueError):
        return None


def _classify(error):
    """The exception for an answer that is an HTTP error."""
    try:
        said = error.read(65536).decode("utf-8", "replace").lower()
    except (OSError, http.client.HTTPException):
        said = ""
    message = f"HTTP {error.code}"
    too_many = "tokens per request" in said or "too many inputs" in said or "array too long" in said
    if error.code == 413 or (error.code in (400, 422) and too_many):
        return BatchTooBig(message)
    if error.code in (400, 422) and "insufficient_quota" not in said:
        return BadItem(message)
    return ProviderTrouble(message, retry_after(error.headers))


class _Pace:
    """So many requests a minute, evenly; 0 means any number."""

    def __init__(self, per_minute):
        self._gap = 60.0 / per_minute if per_minute else 0.0
        self._next = 0.0
        self._lock = threading.Lock()

    def wait(self, stop):
        with self._lock:
            now = time.monotonic()
            at = max(now, self._next)
            self._next = at + self._gap
        return not stop.wait(at - now)


class Client:
    """What OpenAI's and Ollama's ways of asking have in common."""

    path = None

    def __init__(self, provider):
        self._provider = provider
        self._pace = _Pace(provider.requests_per_minute)

    def _vectors(self, answer):
        raise NotImplementedError

    def embed(self, model, texts, stop):
        """A vector for each text; None if the worker is to stop before it asks."""
        if not self._pace.wait(stop):
            return None
        headers = {"Content-Type": "application/json"}
        if self._provider.api_key:
            headers["Authorization"] = f"Bearer {self._provider.api_key}"
        request = urllib.request.Request(self._provider.base_url.rstrip("/") + self.path, headers=headers,
                                         data=json.dumps(self._question(model, texts)).encode())
        try:
            with _opener.open(request, timeout=self._provider.timeout) as response:
                answer = json.load(response)
        except urllib.error.HTTPError as error:
            raise _classify(error) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise ProviderTrouble(f"no answer: {type(error).__name__}") from None
        try:
            vectors = [[float(x) for x in vector] for vector in self._vectors(answer)]
        except (KeyError, TypeError, ValueError, AttributeError):
            raise ProviderTrouble("the answer is not one of embeddings") from None
        if len(vectors) != len(texts):
            raise ProviderTrouble(f"{len(vectors)} vectors for {len(texts)} texts")
        return vectors

    def _question(self, model, texts):
        return {"model": model, "input": texts}


class OpenAI(Client):
    path = "/embeddings"

    def _vectors(self, answer):
        return [item["embedding"] for item in sorted(answer["data"], key=lambda item: item["index"])]


class Ollama(Client):
    path = "/api/embed"

    def _question(self, model, texts):
        # Else a text that is too long would be cut, and its vector be of the beginning.
        return {"model": model, "input": texts, "truncate": False}

    def _vectors(self, answer):
        return answer["embeddings"]


def client(provider):
    if provider.type == "local":
        from .local import Local

        return Local(provider)
    return {"openai": OpenAI, "ollama": Ollama}[provider.type](provider)
