"""The worker: claims batches, has them embedded, stores the vectors.

Each thread has a connection of its own, and no transaction open while a provider
works.  What becomes of a batch: docs/embedding.md.
"""

import logging
import random
import threading
import time

from . import db, providers

log = logging.getLogger("piramid.worker")

MOST_BACKOFF = 300.0
STOP_WITHIN = 10.0
SWEEP_EVERY = 600.0        # look for chunks without a job, which takes a scan


class Worker:
    def __init__(self, config):
        self._config = config
        self._clients = {name: providers.client(p) for name, p in config.providers.items()}
        self._troubles = dict.fromkeys(config.providers, 0)
        self._stop = threading.Event()

    def stop(self):
        self._stop.set()

    def run(self):
        """Until stop() is called; what is still leased then is given back."""
        threads = [_Thread(self, conninfo) for conninfo in self._config.databases
                   for _ in range(self._config.threads)]
        for thread in threads:
            thread.start()
        self._stop.wait()
        end = time.monotonic() + STOP_WITHIN
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))
        for thread in threads:
            thread.give_back()

    def embed_batch(self, database, batch):
        """One batch, to its end."""
        self._embed(database, batch, batch.ids, batch.texts)

    def _embed(self, database, batch, ids, texts):
        try:
            vectors = self._clients[batch.provider].embed(batch.model, texts, self._stop)
        except providers.ProviderTrouble as trouble:
            self._troubles[batch.provider] += 1
            backoff = min(MOST_BACKOFF, 2.0 ** self._troubles[batch.provider]) * random.random()
            pause = backoff if trouble.retry_after is None else trouble.retry_after
            log.warning("provider %s: %s; paused for %.1f s", batch.provider, trouble, pause)
            database.fail(batch, str(trouble), "provider", retry_after=pause)
            return False
        except (providers.BatchTooBig, providers.BadItem) as error:
            if len(ids) > 1:
                middle = len(ids) // 2
                return (self._embed(database, batch, ids[:middle], texts[:middle]) and
                        self._embed(database, batch, ids[middle:], texts[middle:]))
            log.warning("chunk %d of %s: %s", ids[0], batch.collection, error)
            database.fail(batch, str(error), "item", ids)
            return True
        if vectors is None:
            database.fail(batch, "the worker stopped", "batch")
            return False
        self._troubles[batch.provider] = 0
        self._store(database, batch, ids, vectors)
        return True

    def _store(self, database, batch, ids, vectors):
        """Vectors that the database refuses are found by halves, and theirs alone fail."""
        try:
            database.complete(batch, ids, vectors)
        except db.Refused as error:
            if len(ids) > 1:
                middle = len(ids) // 2
                self._store(database, batch, ids[:middle], vectors[:middle])
                self._store(database, batch, ids[middle:], vectors[middle:])
                return
            message = error.diag.message_primary or "refused"
            log.warning("chunk %d of %s: %s", ids[0], batch.collection, message)
            database.fail(batch, message, "item", ids)


class _Thread(threading.Thread):
    def __init__(self, worker, conninfo):
        super().__init__(daemon=True)
        self._worker = worker
        self._conninfo = conninfo
        self._batch = None
        self._sweep_at = 0.0

    def run(self):
        stop = self._worker._stop
        while not stop.is_set():
            try:
                database = db.Database(self._conninfo)
                try:
                    database.listen()
                    while not stop.is_set():
                        self._step(database)
                finally:
                    database.close()
            except db.ConnectionLost as error:
                log.warning("database: %s", type(error).__name__)
                stop.wait(1.0)
            except Exception:
                log.exception("a batch ended by an error")
                stop.wait(1.0)

    def _step(self, database):
        config = self._worker._config
        self._batch = database.claim(config.providers, config.lease)
        if self._batch is None:
            if time.monotonic() >= self._sweep_at:
                database.queue_missing()
                self._sweep_at = time.monotonic() + SWEEP_EVERY
            else:
                database.wait(config.poll)
            return
        beating = threading.Event()
        heart = threading.Thread(target=self._beat, args=(self._batch, beating), daemon=True)
        heart.start()
        try:
            self._worker.embed_batch(database, self._batch)
        finally:
            beating.set()
            heart.join()
        self._batch = None

    def _beat(self, batch, ended):
        """The lease begins anew every third of it, on a connection of its own."""
        while not ended.wait(self._worker._config.lease / 3):
            try:
                database = db.Database(self._conninfo)
                try:
                    database.heartbeat(batch, self._worker._config.lease)
                finally:
                    database.close()
            except db.ConnectionLost:
                pass

    def give_back(self):
        batch = self._batch
        if batch is None:
            return
        try:
            database = db.Database(self._conninfo)
            database.fail(batch, "the worker stopped", "batch")
            database.close()
        except db.ConnectionLost:
            log.warning("a lease is left to expire")
