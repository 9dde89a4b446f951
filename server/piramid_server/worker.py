"""The worker: claims batches, has them embedded, stores the vectors.

Each thread has a connection of its own, and no transaction open while a provider
works.  What becomes of a batch: docs/embedding.md.
"""

import contextlib
import logging
import random
import threading
import time

from . import db, providers, semantic

log = logging.getLogger("piramid.worker")

MOST_BACKOFF = 300.0
STOP_WITHIN = 10.0
SWEEP_EVERY = 600.0        # look for chunks without a job, which takes a scan
SENTENCES_AT_ONCE = 64
MOST_UNSTORED = 8          # batches that wait for somebody's lock


class Worker:
    def __init__(self, config):
        self._config = config
        self._clients = {name: providers.client(p) for name, p in config.providers.items()}
        self._troubles = dict.fromkeys(config.providers, 0)
        self._paused_until = {}
        self._stop = threading.Event()

    def stop(self):
        self._stop.set()

    def run(self):
        """Until stop() is called; what is still leased then is given back."""
        threads = [_Thread(self, dsn) for dsn in self._config.databases
                   for _ in range(self._config.threads)]
        for thread in threads:
            thread.start()
        self._stop.wait()
        end = time.monotonic() + STOP_WITHIN
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))
        for thread in threads:
            thread.give_back()

    def trouble(self, provider, trouble):
        """For how long the provider is left alone."""
        self._troubles[provider] += 1
        backoff = min(MOST_BACKOFF, 2.0 ** self._troubles[provider]) * random.random()
        pause = backoff if trouble.retry_after is None else trouble.retry_after
        log.warning("provider %s: %s; paused for %.1f s", provider, trouble, pause)
        return pause

    def paused(self, provider, pause):
        """Called once the database knows: then a pause does not end here before it ends there."""
        self._paused_until[provider] = max(self._paused_until.get(provider, 0.0), time.monotonic() + pause)

    def idle_time(self):
        """How long to wait for jobs: no longer than until a pause ends, which nobody tells of."""
        now = time.monotonic()
        ends = [until - now for until in list(self._paused_until.values()) if until > now]
        return min([self._config.poll, *ends])

    def embed(self, batch, ids, texts, database):
        """What of a batch can be embedded, as parts: their ids and vectors.  Of the others the
        queue is told; False is the end of a batch that goes back to it."""
        try:
            vectors = self._clients[batch.provider].embed(batch.model, texts, self._stop)
        except providers.ProviderTrouble as trouble:
            pause = self.trouble(batch.provider, trouble)
            database.fail(batch, str(trouble), "provider", retry_after=pause)
            self.paused(batch.provider, pause)
            yield False
            return
        except (providers.BatchTooBig, providers.BadItem) as error:
            if len(ids) == 1:
                log.warning("chunk %d of %s: %s", ids[0], batch.collection, error)
                database.fail(batch, str(error), "item", ids)
                return
            middle = len(ids) // 2
            for part in ((ids[:middle], texts[:middle]), (ids[middle:], texts[middle:])):
                for some in self.embed(batch, *part, database):
                    yield some
                    if some is False:
                        return
            return
        if vectors is None:
            database.fail(batch, "the worker stopped", "batch")
            yield False
            return
        self._troubles[batch.provider] = 0
        yield ids, vectors

    def embed_sentences(self, document):
        """Vectors, a list without any if the provider refuses the sentences, None if the worker is to stop."""
        client = self._clients[document.provider]
        vectors = []
        for first in range(0, len(document.sentences), SENTENCES_AT_ONCE):
            try:
                some = client.embed(document.model, document.sentences[first:first + SENTENCES_AT_ONCE], self._stop)
            except (providers.BatchTooBig, providers.BadItem) as error:
                log.warning("a document of %s is cut by size: %s", document.collection, error)
                return []
            if some is None:
                return None
            vectors += some
        self._troubles[document.provider] = 0
        return vectors


class _Thread(threading.Thread):
    def __init__(self, worker, dsn):
        super().__init__(daemon=True)
        self._worker = worker
        self._dsn = dsn
        self._batch = None
        self._unstored = []         # batches with parts that a lock keeps from being stored
        self._sweep_at = 0.0

    def run(self):
        stop = self._worker._stop
        while not stop.is_set():
            try:
                database = db.Database(self._dsn)
                try:
                    database.listen()
                    while not stop.is_set():
                        self._step(database)
                finally:
                    database.close()
            except db.Locked:
                log.warning("a table is locked; the lease of its jobs ends by itself")
            except db.ConnectionLost as error:
                log.warning("database: %s", type(error).__name__)
                stop.wait(1.0)
            except Exception:
                log.exception("a batch ended by an error")
                stop.wait(1.0)

    def _step(self, database):
        self._store_again(database)
        # Also beside other work: else a new version of a busy collection would never begin.
        if database.told_to_sweep():
            self._sweep_at = 0.0
        if time.monotonic() >= self._sweep_at and database.sweep() == 0:
            self._sweep_at = time.monotonic() + SWEEP_EVERY
        if len(self._unstored) < MOST_UNSTORED:
            if database.cut_documents() > 0 or self._cut_document(database) or self._embed_batch(database):
                return
            database.promote_finished()
        if time.monotonic() < self._sweep_at and database.wait(self._worker.idle_time()):
            self._sweep_at = 0.0

    def _embed_batch(self, database):
        """One batch to its end; False if there is none."""
        self._batch = database.claim(self._worker._config.providers, self._worker._config.lease)
        if self._batch is None:
            return False
        with self._beating(self._batch, self._worker._config.lease):
            for part in self._worker.embed(self._batch, self._batch.ids, self._batch.texts, database):
                if part:
                    self._store(database, self._batch, *part)
        self._batch = None
        return True

    def _store(self, database, batch, ids, vectors):
        """Vectors that the database refuses are found by halves, and theirs alone fail."""
        try:
            database.complete(batch, ids, vectors)
        except db.Locked:
            self._unstored.append((batch, ids, vectors))
        except db.Refused as error:
            if len(ids) > 1:
                middle = len(ids) // 2
                self._store(database, batch, ids[:middle], vectors[:middle])
                self._store(database, batch, ids[middle:], vectors[middle:])
                return
            message = error.diag.message_primary or "refused"
            log.warning("chunk %d of %s: %s", ids[0], batch.collection, message)
            database.fail(batch, message, "item", ids)

    def _store_again(self, database):
        """What a lock kept from being stored, as long as the lease lasts: then complete() stores nothing."""
        unstored, self._unstored = self._unstored, []
        for batch, ids, vectors in unstored:
            try:
                database.heartbeat(batch, self._worker._config.lease)
            except db.Locked:
                pass
            self._store(database, batch, ids, vectors)

    def _cut_document(self, database):
        """One document, where its meaning changes; False if there is none."""
        lease = 5 * self._worker._config.lease
        document = database.claim_document(self._worker._config.providers, lease)
        if document is None:
            return False
        try:
            with self._beating(document, lease):
                vectors = self._worker.embed_sentences(document)
        except providers.ProviderTrouble as trouble:
            pause = self._worker.trouble(document.provider, trouble)
            database.pause(document.provider, str(trouble), pause)
            self._worker.paused(document.provider, pause)
            vectors = None
        if vectors is None:
            database.release_document(document)
        else:
            database.complete_document(document, *semantic.cut(
                document.starts, document.lengths, vectors, document.size, document.percentile))
        return True

    @contextlib.contextmanager
    def _beating(self, leased, lease):
        """A batch or a document keeps its lease until the block ends."""
        ended = threading.Event()
        heart = threading.Thread(target=self._beat, args=(leased, lease, ended), daemon=True)
        heart.start()
        try:
            yield
        finally:
            ended.set()
            heart.join()

    def _beat(self, leased, lease, ended):
        """The lease begins anew every third of it, on a connection of its own."""
        while not ended.wait(lease / 3):
            try:
                database = db.Database(self._dsn)
                try:
                    database.heartbeat(leased, lease)
                finally:
                    database.close()
            except db.ConnectionLost:
                pass

    def give_back(self):
        for batch in [self._batch, *(unstored[0] for unstored in self._unstored)]:
            if batch is None:
                continue
            try:
                database = db.Database(self._dsn)
                database.fail(batch, "the worker stopped", "batch")
                database.close()
            except db.ConnectionLost:
                log.warning("a lease is left to expire")
