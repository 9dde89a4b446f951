"""The fake provider and the official clients of the real ones: prints TAP.  What these accept
from the fake is what piramid-server is tested with."""

import base64
import struct

import ollama
import openai
from fake import Fake, vector
from harness import SECRET, finish, ok

TEXTS = ["This is sentence 1.", "Übung und 日本語.", "This is sentence 3."]
fake = Fake()


def raised(call):
    """The exception of a call, as its class and what a user sees of it."""
    try:
        call()
    except (openai.OpenAIError, ollama.ResponseError) as error:
        return error
    return None


client = openai.OpenAI(base_url=fake.url + "/v1", api_key=SECRET, max_retries=0)
for form in ("float", "base64", None):
    answer = client.embeddings.create(model="m", input=TEXTS, **({"encoding_format": form} if form else {}))
    # The fake answers in another order, as it may: the index says which is which.
    vectors = [item.embedding for item in sorted(answer.data, key=lambda item: item.index)]
    if form == "base64":        # asked for by name, the client hands it on
        vectors = [list(struct.unpack("<3f", base64.b64decode(v))) for v in vectors]
    ok(vectors == [vector(text, 3) for text in TEXTS], f"openai, {form or 'default'}: a vector for each text", vectors)
ok(answer.model == "m" and answer.object == "list" and answer.usage.prompt_tokens > 0, "openai: model and usage", answer)
answer = client.embeddings.create(model="m", input=TEXTS[0])
ok([item.embedding for item in answer.data] == [vector(TEXTS[0], 3)], "openai: a single text")
ok(fake.keys == {f"Bearer {SECRET}"}, "openai: the key comes as the fake expects it")
fake.unknown = {"wrong-name"}
error = raised(lambda: client.embeddings.create(model="wrong-name", input=TEXTS))
ok(isinstance(error, openai.NotFoundError) and error.code == "model_not_found", "openai: a model that is not there", repr(error))
for status, kind in ((401, openai.AuthenticationError), (429, openai.RateLimitError), (500, openai.InternalServerError), (400, openai.BadRequestError)):
    fake.script = [status]
    error = raised(lambda: client.embeddings.create(model="m", input=TEXTS))
    ok(type(error) is kind, f"openai: {status}", repr(error))
fake.script = ["wait"]
error = raised(lambda: client.embeddings.create(model="m", input=TEXTS))
ok(error.response.headers["Retry-After"] == "1" and error.code == "rate_limit_exceeded", "openai: when to ask again", repr(error))
fake.script = ["wait"]
answer = client.with_options(max_retries=1).embeddings.create(model="m", input=TEXTS[0])
ok(not fake.script and len(answer.data) == 1, "openai: the client's own retry is answered")
ok(isinstance(raised(lambda: client.embeddings.create(model="m", input=["POISON"])), openai.BadRequestError), "openai: a text that is refused")

client = ollama.Client(host=fake.url)
answer = client.embed(model="m", input=TEXTS, truncate=False)
ok([list(v) for v in answer.embeddings] == [vector(text, 3) for text in TEXTS], "ollama: a vector for each text", answer)
ok(answer.model == "m" and answer.prompt_eval_count > 0, "ollama: model and count", answer)
answer = client.embed(model="m", input=TEXTS[0], truncate=False)
ok([list(v) for v in answer.embeddings] == [vector(TEXTS[0], 3)], "ollama: a single text")
for model, texts, status, said in (("wrong-name", TEXTS, 404, "not found"), ("m", ["POISON"], 400, "refused"), ("m", ["CRASH"], 500, "stopped")):
    error = raised(lambda: client.embed(model=model, input=texts, truncate=False))
    ok(isinstance(error, ollama.ResponseError) and error.status_code == status and said in error.error, f"ollama: {status}", repr(error))

finish()
