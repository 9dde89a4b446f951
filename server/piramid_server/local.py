"""The built-in model, all-MiniLM-L6-v2, on onnxruntime.  Its files: model.py.

Nothing is sent anywhere, and nothing is cut off: a text that is too long fails.
"""

import threading
from pathlib import Path

from .providers import BadItem, ProviderTrouble, UnknownModel

MODEL_ID = "all-MiniLM-L6-v2"
DIMS = 384
MOST_TOKENS = 512           # positions that the model has
ITEMS_AT_ONCE = 32          # more would fill memory, and be no faster

GRAPH = "model.onnx"
TOKENIZER = "tokenizer.json"


class Model:
    """Loaded from its directory; embed() may be called from several threads."""

    def __init__(self, directory, threads=1):
        import numpy
        import onnxruntime
        import tokenizers

        self._numpy = numpy
        self._tokenizer = tokenizers.Tokenizer.from_file(str(Path(directory) / TOKENIZER))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(str(Path(directory) / GRAPH), options, providers=["CPUExecutionProvider"])

    def embed(self, texts):
        """A row of 384 numbers for each text, of length 1."""
        tokens = [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts))]
        longest = max(map(len, tokens), default=0)
        if longest > MOST_TOKENS:
            raise BadItem(f"{longest} tokens, and {MODEL_ID} takes {MOST_TOKENS}")
        vectors = self._numpy.empty((len(tokens), DIMS), self._numpy.float32)
        # Texts of about the same length together: padding costs as much as words do.
        order = sorted(range(len(tokens)), key=lambda i: len(tokens[i]))
        for first in range(0, len(order), ITEMS_AT_ONCE):
            some = order[first:first + ITEMS_AT_ONCE]
            vectors[some] = self._run([tokens[i] for i in some])
        return vectors

    def _run(self, tokens):
        shape = (len(tokens), max(map(len, tokens)))
        ids = self._numpy.zeros(shape, self._numpy.int64)
        mask = self._numpy.zeros(shape, self._numpy.int64)
        for row, some in enumerate(tokens):
            ids[row, :len(some)] = some
            mask[row, :len(some)] = 1
        return self._session.run(None, {"ids": ids, "mask": mask})[0]


class Local:
    """A provider like those of providers.py.  The model is loaded when it is first asked."""

    def __init__(self, provider):
        self._provider = provider
        self._model = None
        self._lock = threading.Lock()

    def embed(self, model, texts):
        if model != MODEL_ID:
            raise UnknownModel(model, f"it is {MODEL_ID}")
        with self._lock:
            if self._model is None:
                try:
                    self._model = Model(self._provider.path, self._provider.threads)
                except Exception as error:
                    raise ProviderTrouble(f"the model cannot be loaded: {type(error).__name__}; see piramid-server model") from None
        try:
            return self._model.embed(texts).tolist()
        except BadItem:
            raise
        except Exception as error:
            raise ProviderTrouble(f"the model fails: {type(error).__name__}", perhaps_texts=True) from None
