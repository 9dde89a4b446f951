"""Providers of embeddings, by HTTP: one request for one batch, without retries.

What goes wrong is one of four things, as the queue distinguishes them.  No message
holds a text, a vector or a key.
"""

import email.utils
import http.client
import json
import time
import urllib.error
import urllib.request


MOST_ANSWER = 512 << 20     # bytes


class ProviderTrouble(Exception):
    """The provider does not work, or not now.  The batch is not at fault, but perhaps where
    "perhaps_texts" is set: some providers break at a text."""

    def __init__(self, message, retry_after=None, perhaps_texts=False):
        super().__init__(message)
        self.retry_after = retry_after
        self.perhaps_texts = perhaps_texts


class UnknownModel(Exception):
    """The provider works, and does not have the model."""

    def __init__(self, model, status):
        super().__init__(f'the provider has no model "{model}" that embeds ({status})')


class BatchTooBig(Exception):
    """The provider wants less at once."""


class BadItem(Exception):
    """Something in the batch is refused; alone, it tells what."""


ERRORS = (ProviderTrouble, UnknownModel, BatchTooBig, BadItem)


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


def _read(response, deadline, most):
    """The body, also of a provider that sends it byte by byte."""
    parts, size = [], 0
    while size < most:
        part = response.read1(min(65536, most - size))
        if not part:
            return b"".join(parts)
        if time.monotonic() > deadline:
            raise TimeoutError
        parts.append(part)
        size += len(part)
    raise ValueError("the answer is too long")


def _classify(error, model, deadline):
    """The exception for an answer that is an HTTP error."""
    try:
        said = _read(error, deadline, 65536).decode("utf-8", "replace").lower()
    except (OSError, http.client.HTTPException, ValueError):
        said = ""
    message = f"HTTP {error.code}"
    # A 404 that says nothing of a model is of a wrong address.
    if error.code in (400, 403, 404) and ("model_not_found" in said or "model" in said and (
            "not found" in said or "does not exist" in said or "does not support embed" in said)):
        return UnknownModel(model, message)
    too_many = "tokens per request" in said or "too many inputs" in said or "array too long" in said
    if error.code == 413 or (error.code in (400, 422) and too_many):
        return BatchTooBig(message)
    if error.code in (400, 422) and "insufficient_quota" not in said:
        return BadItem(message)
    return ProviderTrouble(message, retry_after(error.headers), perhaps_texts=error.code == 500)


class Client:
    """What OpenAI's and Ollama's ways of asking have in common."""

    path = None

    def __init__(self, provider):
        self._provider = provider

    def _vectors(self, answer):
        raise NotImplementedError

    def embed(self, model, texts):
        """A vector for each text."""
        vectors = self._numbers(self._answer(model, texts))
        if len(vectors) != len(texts):
            raise ProviderTrouble(f"{len(vectors)} vectors for {len(texts)} texts", perhaps_texts=True)
        return vectors

    def _answer(self, model, texts):
        headers = {"Content-Type": "application/json"}
        if self._provider.api_key:
            headers["Authorization"] = f"Bearer {self._provider.api_key}"
        request = urllib.request.Request(self._provider.base_url.rstrip("/") + self.path, headers=headers,
                                         data=json.dumps(self._question(model, texts)).encode())
        deadline = time.monotonic() + self._provider.timeout
        try:
            with _opener.open(request, timeout=self._provider.timeout) as response:
                return json.loads(_read(response, deadline, MOST_ANSWER))
        except urllib.error.HTTPError as error:
            with error:
                raise _classify(error, model, deadline) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            # One that has taken the request, and then breaks, may do so for a text.
            cause = getattr(error, "reason", error)
            broke = isinstance(cause, (ConnectionResetError, BrokenPipeError, http.client.HTTPException, ValueError))
            raise ProviderTrouble(f"no answer: {type(error).__name__}", perhaps_texts=broke) from None

    def _numbers(self, answer):
        try:
            return [[float(x) for x in vector] for vector in self._vectors(answer)]
        except (KeyError, TypeError, ValueError, AttributeError):
            raise ProviderTrouble("the answer is not one of embeddings", perhaps_texts=True) from None

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
