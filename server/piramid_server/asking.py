"""A provider as all threads of a worker share it: whose turn it is to ask, how long it is
left alone, and how a batch is asked for so that the texts at fault are found.
"""

import logging
import random
import threading
import time

from .providers import BadItem, BatchTooBig, ProviderTrouble, client

log = logging.getLogger("piramid.worker")

MOST_BACKOFF = 300.0
MOST_FLOOR = 5.0           # a provider that says "at once" again and again is not believed
UNKNOWN_FOR = 30.0         # a model may be on its way to the provider
HARMLESS = "a text"


class Stopped(Exception):
    """The worker is to stop."""


class Source:
    def __init__(self, provider):
        self.name = provider.name
        self.client = client(provider)
        self._gap = 60.0 / provider.requests_per_minute if provider.requests_per_minute else 0.0
        self._next = 0.0
        self._turns = 0             # that threads have
        self._stopped = False
        self._changed = threading.Condition()
        self._troubles = 0
        self._paused_until = 0.0
        self._unknown = {}          # models, and since when

    def turn(self):
        """The right to one request.  Who waits for it has claimed nothing yet.  A provider that
        was in trouble is tried by one thread, until it works."""
        with self._changed:
            while self._troubles and self._turns and not self._stopped:
                self._changed.wait()
            self._turns += 1
        turn = Turn(self)
        try:
            self.wait_for_turn()
        except Stopped:
            turn.end()
            raise
        return turn

    def wait_for_turn(self):
        with self._changed:
            while not self._stopped:
                now = time.monotonic()
                if now >= self._next:
                    self._next = now + self._gap
                    return
                self._changed.wait(self._next - now)
        raise Stopped

    def end_turn(self, used):
        with self._changed:
            self._turns -= 1
            if not used:
                self._next -= self._gap
            self._changed.notify_all()

    def stop(self):
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def works(self, model):
        with self._changed:
            self._troubles = 0
            self._unknown.pop(model, None)
            self._changed.notify_all()

    def trouble(self, trouble):
        """For how long the provider is left alone."""
        with self._changed:
            self._troubles += 1
            factor = 2.0 ** min(self._troubles, 20)
        if trouble.retry_after is None:
            pause = min(MOST_BACKOFF, factor) * random.random()
        else:
            pause = max(trouble.retry_after, min(MOST_FLOOR, factor / 20) if factor > 2 else 0.0)
        log.warning("provider %s: %s; paused for %.1f s", self.name, trouble, pause)
        return pause

    def paused(self, pause):
        """Called once the database knows: then a pause does not end here before it ends there."""
        self._paused_until = max(self._paused_until, time.monotonic() + pause)

    def idle_time(self, poll):
        """How long to wait for jobs: no longer than until a pause ends, which nobody tells of."""
        left = self._paused_until - time.monotonic()
        return min(poll, left) if left > 0 else poll

    def gives_up(self, model):
        """The provider does not know this model: is that for good?"""
        now = time.monotonic()
        return now - self._unknown.setdefault(model, now) >= UNKNOWN_FOR


class Turn:
    """One request, and those that follow from its answer, each of which waits for its turn."""

    def __init__(self, source):
        self._source = source
        self._used = False

    def end(self):
        self._source.end_turn(self._used)

    def _ask(self, model, texts):
        if self._used:
            self._source.wait_for_turn()
        self._used = True
        return self._source.client.embed(model, texts)

    def embed(self, model, ids, texts):
        """What of a batch can be embedded, in parts: ids, vectors, None; of the others their id
        and an error.  What is not a text's fault ends it: ProviderTrouble, UnknownModel, Stopped."""
        vectors = refused = None
        try:
            vectors = self._ask(model, texts)
        except (BatchTooBig, BadItem) as error:
            refused = str(error)
        except ProviderTrouble as trouble:
            if not trouble.perhaps_texts or not self._works(model):
                raise
            refused = f"{trouble}, while the provider answers to other texts"
        if vectors is not None:
            self._source.works(model)
            yield ids, vectors, None
        elif len(ids) == 1:
            yield ids, None, refused
        else:
            middle = len(ids) // 2
            yield from self.embed(model, ids[:middle], texts[:middle])
            yield from self.embed(model, ids[middle:], texts[middle:])

    def _works(self, model):
        """Does the provider embed what can do no harm?"""
        try:
            self._ask(model, [HARMLESS])
        except (BatchTooBig, BadItem, ProviderTrouble):
            return False
        return True
