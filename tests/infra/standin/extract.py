"""Writes `schemas/*.json` from the prebuilt bindings of the providers, for the types that our Terraform uses.

    npm pack @cdktf/provider-google@16.12.1 @cdktf/provider-kubernetes@12.1.1   # providers 6.50.0 and 2.38.0
    python tests/infra/standin/extract.py google=<unpacked>/package/lib kubernetes=<unpacked>/package/lib

To be run again where Terraform uses a type that is not in them, or another version of a provider.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3] / "infra" / "terraform"
SCHEMAS = Path(__file__).parent / "schemas"
TYPES: dict[str, Any] = {
    "string": "string",
    "number": "number",
    "boolean": "bool",
    "stringList": ["list", "string"],
    "numberList": ["list", "number"],
    "booleanList": ["list", "bool"],
    "stringListList": ["list", ["list", "string"]],
    "stringMap": ["map", "string"],
    "numberMap": ["map", "number"],
    "booleanMap": ["map", "bool"],
    "any": "dynamic",
    "anyMap": "dynamic",
}
GETTERS: dict[str, Any] = {
    "String": "string",
    "Number": "number",
    "Boolean": "bool",
    "List": ["list", "string"],
    "NumberList": ["list", "number"],
    "StringMap": ["map", "string"],
    "NumberMap": ["map", "number"],
    "BooleanMap": ["map", "bool"],
}
ENTRY = re.compile(
    r"(\w+): \{\s*value: (.*?),\s*isBlock: (true|false),\s*type: \"(\w+)\",\s*storageClassType: \"(\w+)\",\s*\}",
    re.DOTALL,
)
USED = re.compile(r'^(resource|data) "(\w+)"', re.MULTILINE)


class Binding:
    """The generated sources of one type."""

    def __init__(self, folder: Path) -> None:
        self.source = _joined(folder, "js")
        types = re.sub(r"/\*.*?\*/", "", _joined(folder, "d.ts"), flags=re.DOTALL)
        self.fields = {
            found[1].lower(): {
                name.lower(): mark != "?"
                for name, mark in re.findall(r"readonly (\w+)(\??):", _braced(types, found.end() - 1))
            }
            for found in re.finditer(r"export interface (\w+)[^{]*\{", types)
        }
        self.structs = {
            found[1].lower(): _braced(self.source, found.end() - 1)
            for found in re.finditer(r"function (\w+)ToHclTerraform\(struct\) \{", self.source)
        }

    def block(self, body: str, interface: str) -> dict[str, Any]:
        """The arguments that `body` writes, required ones as `interface` says."""
        attributes: dict[str, Any] = {}
        blocks: dict[str, Any] = {}
        start = body.find("const attrs = {")
        found = ENTRY.findall(_braced(body, body.index("{", start))) if start >= 0 else []
        for name, content, _, kind, storage in found:
            required = self.fields.get(interface.lower(), {}).get(name.replace("_", ""), False)
            struct = re.search(r"(\w+)ToHclTerraform", content)
            if storage not in TYPES and struct and struct[1].lower() in self.structs:
                inner = self.block(self.structs[struct[1].lower()], struct[1])
                nesting = "single" if kind == "struct" else kind
                blocks[name] = {
                    "nesting": nesting,
                    "many": "listMapper" in content,
                    "required": required,
                    **inner,
                }
                continue
            value = TYPES.get(storage, "dynamic")
            if kind == "set" and isinstance(value, list):
                value = ["set", value[1]]
            attributes[name] = {"type": value} | ({"required": True} if required else {})
        return {"attributes": attributes, "blocks": blocks}

    def whole(self) -> dict[str, Any]:
        """Arguments and what can only be read."""
        found = re.search(r"class (\w+) extends cdktf\.Terraform\w+ ", self.source)
        assert found
        body = self.source[found.start() :]
        made = self.block(body[body.index("synthesizeHclAttributes()") :], f"{found[1]}Config")
        attributes = made["attributes"]
        for _, kind, name in re.findall(
            r"get (\w+)\(\) \{\s*return this\.get(\w+)Attribute\('(\w+)'\)", body
        ):
            if name not in attributes and name not in made["blocks"]:
                attributes[name] = {"type": GETTERS.get(kind, "dynamic"), "computed": True}
        for name in re.findall(r"this\._\w+ = new (?:\w+\.)?\w+\(this, \"(\w+)\"", body):
            if name not in attributes and name not in made["blocks"]:
                attributes[name] = {"type": "dynamic", "computed": True}
        attributes["id"] = {"type": "string", "optional": True, "computed": True}
        return made


def _joined(folder: Path, suffix: str) -> str:
    paths = [folder / f"index.{suffix}", *sorted(folder.glob(f"*structs/*.{suffix}"))]
    return "\n".join(path.read_text(encoding="utf-8") for path in paths)


def _braced(text: str, start: int) -> str:
    depth = 0
    for place in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if depth == 0:
            return text[start : place + 1]
    raise ValueError("no end of a block")


def used(provider: str) -> list[tuple[str, str]]:
    """What our Terraform uses of a provider: (resource or data, type)."""
    texts = [path.read_text(encoding="utf-8") for path in ROOT.rglob("*.tf")]
    found = {pair for text in texts for pair in USED.findall(text)}
    return sorted(pair for pair in found if pair[1].startswith(f"{provider}_"))


def main() -> None:
    """One file a provider."""
    for word in sys.argv[1:]:
        provider, _, folder = word.partition("=")
        base = Path(folder)
        made: dict[str, Any] = {"provider": Binding(base / "provider").whole(), "resources": {}, "data": {}}
        made["provider"]["attributes"].pop("id")
        for kind, name in used(provider):
            short = name.removeprefix(f"{provider}_").replace("_", "-")
            place = base / (short if kind == "resource" else f"data-{provider}-{short}")
            made["resources" if kind == "resource" else "data"][name] = Binding(place).whole()
        text = json.dumps(made, separators=(",", ":"), sort_keys=True)
        (SCHEMAS / f"{provider}.json").write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
