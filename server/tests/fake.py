"""A provider for tests: vectors that tell of which text they are, and every way to fail.
That it answers as the real ones do, their own clients show in test_clients.py."""

import base64
import hashlib
import json
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def vector(text, dims):
    return [1.0 + byte for byte in hashlib.sha256(text.encode()).digest()[:dims]]


class Fake(ThreadingHTTPServer):
    """Answers as OpenAI and as Ollama do.  "script" says what the next requests get, "always"
    what the others do; without both they get vectors, but for texts that ask for trouble."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, dims=3, most=100):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.dims = dims
        self.most = most
        self.script = []
        self.always = None
        self.per_minute = None              # requests that are answered; 429 is the answer to others
        self.allowed_at = 0.0
        self.takes = 0.0                    # seconds
        self.unknown = set()                # models that it does not have
        self.requests = []
        self.on_request = lambda: None
        self.keys = set()
        self.at_once = []                   # how many requests there were, with each
        self.inside = 0
        self.lock = threading.Lock()
        self.held = threading.Event()       # a request is held
        self.release = threading.Event()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request, client_address):
        pass

    def next_act(self):
        """What this request gets, besides vectors.  Called under the lock."""
        if self.script:
            return self.script.pop(0)
        if self.per_minute is not None:
            now = time.monotonic()
            if now < self.allowed_at:
                return "wait"
            self.allowed_at = max(self.allowed_at, now - 1) + 60 / self.per_minute
        return self.always


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def _send(self, status, body, **headers):
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain" if isinstance(body, str) else "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)

    def _error(self, status, message, code=None, **headers):
        if self.path == "/api/embed":
            self._send(status, {"error": message}, **headers)
        else:
            self._send(status, {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}, **headers)

    def do_POST(self):
        fake = self.server
        question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path not in ("/v1/embeddings", "/api/embed"):
            self._send(404, "404 page not found")
            return
        texts = question["input"]
        texts = [texts] if isinstance(texts, str) else texts
        with fake.lock:
            fake.requests.append(texts)
            fake.keys.add(self.headers.get("Authorization"))
            act = fake.next_act()
            fake.on_request()
            fake.inside += 1
            fake.at_once.append(fake.inside)
        if fake.takes:
            time.sleep(fake.takes)
        with fake.lock:
            fake.inside -= 1
        if not self._fails(act):
            self._embed(question, texts, short=act == "short")

    def _fails(self, act):
        """Does what the script says, if that is no answer with vectors."""
        fake = self.server
        if act == "hold":
            fake.held.set()
            fake.release.wait()
        elif act == "reset":
            self.connection.close()
        elif act == "half":
            self.send_response(200)
            self.send_header("Content-Length", "1000000")
            self.end_headers()
            self.wfile.write(b'{"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": [1.0, 2.')
            self.close_connection = True
        elif act == "rubbish":
            self._send(200, {"what": "?"})
        elif act == "redirect":
            self._send(302, {}, Location=fake.url + "/elsewhere")
        elif act == "wait":
            left = max(1, round(fake.allowed_at - time.monotonic() + 0.499)) if fake.per_minute else 1
            self._error(429, "Rate limit reached", "rate_limit_exceeded", Retry_After=str(left))
        elif act == "drip":
            self.send_response(200)
            self.send_header("Content-Length", "1000000")
            self.end_headers()
            while not fake.release.wait(0.1):
                self.wfile.write(b" ")
        elif isinstance(act, int):
            self._error(act, "no", Retry_After="0")
        return act not in (None, "hold", "short", "ok")

    def _embed(self, question, texts, short):
        fake = self.server
        model = question["model"]
        vectors = [vector(text, fake.dims) for text in texts]
        if short:
            vectors.pop()
        if model in fake.unknown:
            if self.path == "/api/embed":
                self._error(404, f'model "{model}" not found, try pulling it first')
            else:
                self._error(404, f"The model `{model}` does not exist or you do not have access to it.", "model_not_found")
        elif len(texts) > fake.most:
            self._error(413, "too many")
        elif any("POISON" in text for text in texts):
            self._error(400, "this text is refused")
        elif any("CRASH" in text for text in texts):
            self._error(500, "the model runner has stopped")
        else:
            for i, text in enumerate(texts):
                if "NAN" in text:
                    vectors[i] = [float("nan")] * fake.dims
                elif "ZERO" in text:
                    vectors[i] = [0.0] * fake.dims
                elif "WIDE" in text:
                    vectors[i] = vectors[i] + [1.0]
                elif "HUGE" in text:
                    vectors[i] = [1e39] * fake.dims
                elif "EMPTY" in text:
                    vectors[i] = []
                elif "LETTERS" in text:
                    vectors[i] = ["a"] * fake.dims
            self._answer(question, model, vectors)

    def _answer(self, question, model, vectors):
        tokens = 5 * len(vectors)
        if self.path == "/api/embed":
            assert question["truncate"] is False
            self._send(200, {"model": model, "embeddings": vectors, "total_duration": 1000, "load_duration": 10, "prompt_eval_count": tokens})
            return
        if question.get("encoding_format") == "base64":
            vectors = [base64.b64encode(struct.pack(f"<{len(v)}f", *v)).decode() for v in vectors]
        data = [{"object": "embedding", "index": i, "embedding": v} for i, v in enumerate(vectors)]
        self._send(200, {"object": "list", "data": data[::-1], "model": model, "usage": {"prompt_tokens": tokens, "total_tokens": tokens}})
