"""What `helm test` runs: the model is named, and answers. Any Python 3, standard library only."""

import json
import os
import sys
import urllib.request
from typing import Any

URL, MODEL = os.environ["ENGINE_URL"], os.environ["ENGINE_MODEL"]
HEADERS = {"Content-Type": "application/json", "Authorization": "Bearer " + os.environ.get("ENGINE_KEY", "")}


def ask(path: str, body: Any = None) -> Any:
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(URL + path, content, HEADERS)
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.load(answer)


named = [model["id"] for model in ask("/v1/models")["data"]]
if MODEL not in named:
    sys.exit(f"{URL} serves {named}, and not {MODEL}")
question = {"model": MODEL, "messages": [{"role": "user", "content": "Say yes."}], "max_tokens": 8}
answer = ask("/v1/chat/completions", question)
if answer["usage"]["completion_tokens"] < 1:
    sys.exit(f"{MODEL} answered nothing: {answer}")
print(f"{MODEL} answers: {answer['choices'][0]['message']['content']!r}")
