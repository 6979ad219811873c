"""The gateway: the OpenAI-compatible door in front of the engines.

hears: requests of API clients; reads the records `releases` and `tokens`, and no event.
says: answers, one audit line a request, metrics; `traffic-measured` beside a canary or before a sleep, and
    `model-wanted`, for deployment to hear.
owns: no record; `<home>/logs/gateway.jsonl`.
never: reads or keeps a prompt, re-encodes an answer, lets a client's token reach an engine, imports an SDK.
"""
