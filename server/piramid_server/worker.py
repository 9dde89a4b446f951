"""The worker: claims batches, has them embedded, stores the vectors.

For each database, each provider has threads of its own, so that none waits for another
provider, and one more thread does what needs no provider.  Each thread has a connection
of its own, and no transaction open while a provider works.  What becomes of a batch:
docs/embedding.md.
"""

import contextlib
import logging
import os
import threading
import time

from . import db, semantic
from .asking import Source, Stopped
from .providers import ProviderTrouble, UnknownModel

log = logging.getLogger("piramid.worker")

STOP_WITHIN = 10.0         # seconds that requests have to end
GIVE_BACK_WITHIN = 5.0
SWEEP_EVERY = 600.0        # look for chunks without a job, which takes a scan
SENTENCES_AT_ONCE = 64
MOST_UNSTORED = 8          # batches that wait for somebody's lock
MOST_ATTEMPTS = 5
AGAIN_AFTER = 10.0         # a document whose model is not there yet


class Worker:
    def __init__(self, config):
        self.config = config
        self.stopped = threading.Event()
        self.stop_pipe, self._stop_writer = os.pipe()       # can be read once the worker is to stop
        self._sources = [Source(provider) for provider in config.providers.values()]
        self._threads = []
        for dsn in config.databases:
            self._threads.append(_Keeper(self, dsn))
            for source in self._sources:
                wanted = config.providers[source.name].concurrency or config.threads
                self._threads += [_Embedder(self, dsn, source) for _ in range(wanted)]

    def start(self):
        for thread in self._threads:
            thread.start()

    def end(self):
        """What is still leased after a while is given back; threads may be left in a request."""
        self.stopped.set()
        os.write(self._stop_writer, b".")
        for source in self._sources:
            source.stop()
        _join(self._threads, STOP_WITHIN)
        giving = [threading.Thread(target=thread.give_back, daemon=True) for thread in self._threads]
        for thread in giving:
            thread.start()
        _join(giving, GIVE_BACK_WITHIN)


def _join(threads, within):
    end = time.monotonic() + within
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))


class _Thread(threading.Thread):
    """Steps over a connection that is opened again when it is lost."""

    def __init__(self, worker, dsn):
        super().__init__(daemon=True)
        self._worker = worker
        self._dsn = dsn

    def run(self):
        stopped = self._worker.stopped
        while not stopped.is_set():
            try:
                database = db.Database(self._dsn)
                try:
                    database.listen()
                    while not stopped.is_set():
                        self._step(database)
                finally:
                    database.close()
            except Stopped:
                return
            except db.Locked:
                log.warning("a table is locked; the lease of its jobs ends by itself")
            except db.ConnectionLost as error:
                log.warning("database: %s", type(error).__name__)
                stopped.wait(1.0)
            except Exception:
                log.exception("a batch ended by an error")
                stopped.wait(1.0)

    def _step(self, database):
        raise NotImplementedError

    def give_back(self):
        pass


class _Keeper(_Thread):
    """Queues what has no job, cuts documents by their form, promotes versions."""

    _sweep_at = 0.0

    def _step(self, database):
        if "sweep" in database.notified():
            self._sweep_at = 0.0
        if time.monotonic() >= self._sweep_at and database.sweep() == 0:
            self._sweep_at = time.monotonic() + SWEEP_EVERY
        if database.cut_documents() > 0:
            return
        database.promote_finished()
        if time.monotonic() < self._sweep_at and \
                "sweep" in database.wait(self._worker.config.poll, self._worker.stop_pipe):
            self._sweep_at = 0.0


class _Embedder(_Thread):
    """What one provider is asked for, one batch or document after the other."""

    def __init__(self, worker, dsn, source):
        super().__init__(worker, dsn)
        self._source = source
        self._lease = worker.config.lease
        self._leased = None         # a batch or a document
        self._unstored = []         # batches with parts that a lock keeps from being stored
        self._worked = False

    def _step(self, database):
        self._store_again(database)
        if len(self._unstored) < MOST_UNSTORED and self._work(database):
            self._worked = True
            return
        if self._worked:
            database.promote_finished()
            self._worked = False
        database.wait(self._source.idle_time(self._worker.config.poll), self._worker.stop_pipe)

    def _work(self, database):
        """One batch or document to its end; False if there is none."""
        turn = self._source.turn()
        try:
            return self._cut_document(database, turn) or self._embed_batch(database, turn)
        finally:
            turn.end()

    def _embed_batch(self, database, turn):
        batch = self._leased = database.claim([self._source.name], self._lease)
        if batch is None:
            return False
        with self._beating(batch, self._lease):
            try:
                for ids, vectors, error in turn.embed(batch.model, batch.ids, batch.texts):
                    if error is None:
                        self._store(database, batch, ids, vectors)
                    else:
                        log.warning("chunk %d of %s: %s", ids[0], batch.collection, error)
                        database.fail(batch, error, "item", ids)
            except Stopped:
                database.fail(batch, "the worker stopped", "batch")
            except UnknownModel as error:
                log.warning("provider %s: %s", self._source.name, error)
                attempts = 1 if self._source.gives_up(batch.model) else MOST_ATTEMPTS
                database.fail(batch, str(error), "item", attempts=attempts)
            except ProviderTrouble as trouble:
                pause = self._source.trouble(trouble)
                database.fail(batch, str(trouble), "provider", retry_after=pause)
                self._source.paused(pause)
        self._leased = None
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
                database.heartbeat(batch, self._lease)
            except db.Locked:
                pass
            self._store(database, batch, ids, vectors)

    def _cut_document(self, database, turn):
        """One document, where its meaning changes; False if there is none."""
        lease = 5 * self._lease
        document = self._leased = database.claim_document([self._source.name], lease)
        if document is None:
            return False
        try:
            with self._beating(document, lease):
                vectors = self._embed_sentences(document, turn)
        except Stopped:
            database.release_document(document)
        except UnknownModel as error:
            log.warning("provider %s: %s", self._source.name, error)
            if self._source.gives_up(document.model):
                database.release_document(document, str(error))
            else:
                database.heartbeat(document, AGAIN_AFTER)
        except ProviderTrouble as trouble:
            pause = self._source.trouble(trouble)
            database.pause(document.provider, str(trouble), pause)
            self._source.paused(pause)
            database.release_document(document)
        else:
            database.complete_document(document, *semantic.cut(
                document.starts, document.lengths, vectors, document.size, document.percentile))
        self._leased = None
        return True

    def _embed_sentences(self, document, turn):
        """Vectors; a list without any if the provider refuses one of the sentences."""
        vectors = []
        for first in range(0, len(document.sentences), SENTENCES_AT_ONCE):
            some = document.sentences[first:first + SENTENCES_AT_ONCE]
            for _, part, error in turn.embed(document.model, range(len(some)), some):
                if error is not None:
                    log.warning("a document of %s is cut by size: %s", document.collection, error)
                    return []
                vectors += part
        return vectors

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
            except db.Error as error:
                log.warning("a lease was not prolonged: %s", type(error).__name__)

    def give_back(self):
        """What is leased, once the worker ends."""
        leases = [lease for lease in [self._leased, *(unstored[0] for unstored in self._unstored)] if lease is not None]
        try:
            for leased in leases:
                database = db.Database(self._dsn)
                if isinstance(leased, db.Document):
                    database.release_document(leased)
                else:
                    database.fail(leased, "the worker stopped", "batch")
                database.close()
        except db.Error as error:
            log.warning("a lease is left to expire: %s", type(error).__name__)
