"""`python -m events.generate`: writes the JSON Schema of every event, and checks the examples that lie beside them."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from events.catalog import Definition, PayloadError, UnknownEventError, decode, definitions, encode
from events.envelope import EnvelopeError, Event, from_structured_json, to_structured_json

SCHEMAS = Path(__file__).parent / "schemas"
EXAMPLES = Path(__file__).parent / "examples"


def schema_text(definition: Definition) -> str:
    """The file under `schemas/`: indented JSON, ends with a line break."""
    return json.dumps(definition.schema(), indent=2, ensure_ascii=False) + "\n"


def example_text(event: Event) -> str:
    """The file under `examples/`: the event in structured mode, indented for a reader."""
    return json.dumps(json.loads(to_structured_json(event)), indent=2, ensure_ascii=False) + "\n"


def example_faults(name: str, text: str) -> list[str]:
    """What is wrong with an example of the event `name`; a line each, empty where it is right."""
    try:
        event = from_structured_json(text.encode())
        payload = decode(event)
    except (EnvelopeError, PayloadError, UnknownEventError) as error:
        return [f"examples/{name}.json: {error}"]
    faults = []
    if event.name != name:
        faults.append(f"examples/{name}.json: it is a {event.name}; its type should end in {name}.v1")
    if json.loads(json.dumps(encode(payload))) != event.data:
        faults.append(f"examples/{name}.json: data must have every field of the payload, and no other")
    if json.loads(to_structured_json(event)) != json.loads(text):
        faults.append(f"examples/{name}.json: it does not come back from the envelope as it went in")
    return faults


def write_schemas(known: Mapping[str, Definition], folder: Path = SCHEMAS) -> None:
    """One file an event; files of events that are no more are removed."""
    folder.mkdir(exist_ok=True)
    for old in set(folder.glob("*.json")) - {folder / f"{name}.json" for name in known}:
        old.unlink()
    for name, definition in known.items():
        (folder / f"{name}.json").write_text(schema_text(definition), encoding="utf-8")


def check_examples(known: Mapping[str, Definition], folder: Path = EXAMPLES) -> list[str]:
    """All that is wrong with the examples, missing ones and ones too many included."""
    there = {path.stem: path for path in sorted(folder.glob("*.json"))}
    faults = [f"examples/{name}.json is missing: every event has an example" for name in known.keys() - there]
    for name, path in there.items():
        if name not in known:
            faults.append(f"examples/{name}.json: no event is called {name}")
        else:
            faults += example_faults(name, path.read_text(encoding="utf-8"))
    return sorted(faults)


def main() -> int:
    """0, or 1 where an example is wrong; then each fault is a line on stderr."""
    known = definitions()
    write_schemas(known)
    faults = check_examples(known)
    sys.stderr.writelines(f"{fault}\n" for fault in faults)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
