"""A provider for tests: vectors that tell of which text they are, and every way to fail."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def vector(text, dims):
    return [1.0 + byte for byte in hashlib.sha256(text.encode()).digest()[:dims]]


class Fake(ThreadingHTTPServer):
    """Answers as OpenAI and as Ollama do.  "script" says what the next requests get; an
    empty one gets vectors, but for texts that ask for trouble."""

    daemon_threads = True

    def __init__(self, dims=3, most=100):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.dims = dims
        self.most = most
        self.script = []
        self.requests = []
        self.on_request = lambda: None
        self.keys = set()
        self.lock = threading.Lock()
        self.held = threading.Event()       # a request is held
        self.release = threading.Event()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request, client_address):
        pass


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def _send(self, status, body, **headers):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)

    def do_POST(self):
        fake = self.server
        question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        texts = question["input"]
        with fake.lock:
            fake.requests.append(texts)
            fake.keys.add(self.headers.get("Authorization"))
            act = fake.script.pop(0) if fake.script else "ok"
            fake.on_request()
        vectors = [vector(text, fake.dims) for text in texts]
        if act == "hold":
            fake.held.set()
            fake.release.wait()
        elif act == "reset":
            self.connection.close()
            return
        elif act == "rubbish":
            self._send(200, {"what": "?"})
            return
        elif act == "short":
            vectors.pop()
        elif act == "redirect":
            self._send(302, {}, Location=fake.url + "/elsewhere")
            return
        elif isinstance(act, int):
            self._send(act, {"error": {"message": "no"}}, Retry_After="0")
            return
        elif act == "wait":
            self._send(429, {"error": {"message": "no"}}, Retry_After="1")
            return
        if len(texts) > fake.most:
            self._send(413, {"error": {"message": "too many"}})
        elif any("POISON" in text for text in texts):
            self._send(400, {"error": {"message": "this text is refused"}})
        else:
            for i, text in enumerate(texts):
                if "NAN" in text:
                    vectors[i] = [float("nan")] * fake.dims
                elif "ZERO" in text:
                    vectors[i] = [0.0] * fake.dims
                elif "WIDE" in text:
                    vectors[i] = vectors[i] + [1.0]
            if self.path == "/api/embed":
                assert question["truncate"] is False
                self._send(200, {"embeddings": vectors})
            else:
                data = [{"index": i, "embedding": v} for i, v in enumerate(vectors)]
                self._send(200, {"data": data[::-1]})
