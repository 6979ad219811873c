"""Charts rendered by the real helm; each rendering is made once in a session."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
RELEASE, NAMESPACE = "serve", "team-x-api"
KUBERNETES = "1.35"
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where PyYAML was built with it
Document = dict[str, Any]
Values = Mapping[str, Any] | str


class Chart:
    """One chart. Values: a mapping, or the name of a file in its `ci/`."""

    def __init__(self, helm: str, name: str, scratch: Path) -> None:
        self.helm, self.path, self._scratch = helm, ROOT / "charts" / name, scratch
        self._made: dict[str, subprocess.CompletedProcess[str]] = {}

    def documents(self, values: Values, version: str = KUBERNETES) -> list[Document]:
        """All objects, hooks included."""
        done = self.template(values, version)
        assert done.returncode == 0, done.stderr
        return [document for document in yaml.load_all(done.stdout, LOADER) if document]

    def one(self, values: Values, kind: str, version: str = KUBERNETES) -> Document:
        """The only object of a kind, hooks not counted."""
        (found,) = [
            document
            for document in self.documents(values, version)
            if document["kind"] == kind and "helm.sh/hook" not in document["metadata"].get("annotations", {})
        ]
        return found

    def kinds(self, values: Values) -> list[str]:
        """Kinds of all objects, sorted."""
        return sorted(document["kind"] for document in self.documents(values))

    def refused(self, values: Values) -> str:
        """What helm says to values that cannot be used."""
        done = self.template(values)
        assert done.returncode != 0, "it took them"
        return done.stderr

    def template(self, values: Values, version: str = KUBERNETES) -> subprocess.CompletedProcess[str]:
        """`helm template`, once."""
        key = json.dumps([values, version], sort_keys=True)
        if key not in self._made:
            words = ["--namespace", NAMESPACE, "--kube-version", version]
            self._made[key] = self.run("template", RELEASE, self.path, *self._values(values), *words)
        return self._made[key]

    def lint(self, values: Values | None = None) -> subprocess.CompletedProcess[str]:
        """`helm lint --strict`."""
        return self.run("lint", "--strict", self.path, *(self._values(values) if values else ()))

    def notes(self, values: Values) -> str:
        """What a person reads after `helm install`."""
        words = ["--namespace", NAMESPACE, "--dry-run=client"]
        done = self.run("install", RELEASE, self.path, *self._values(values), *words)
        assert done.returncode == 0, done.stderr
        return done.stdout.partition("\nNOTES:\n")[2]

    def examples(self) -> list[str]:
        """Names of the files in `ci/`."""
        return sorted(path.name for path in (self.path / "ci").glob("*.yaml"))

    def said(self, name: str) -> dict[str, Any]:
        """The content of a file in `ci/`."""
        content: dict[str, Any] = yaml.safe_load((self.path / "ci" / name).read_text(encoding="utf-8"))
        return content

    def run(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """Any command of helm's, to its end."""
        return subprocess.run([self.helm, *words], capture_output=True, text=True, check=False)

    def _values(self, values: Values) -> Sequence[str | Path]:
        if isinstance(values, str):
            return ["--values", self.path / "ci" / values]
        path = self._scratch / f"values-{len(list(self._scratch.iterdir()))}.json"
        path.write_text(json.dumps(values), encoding="utf-8")
        return ["--values", path]


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """As helm merges values."""
    both = dict(below)
    for key, value in above.items():
        under = both.get(key)
        both[key] = (
            merged(under, value) if isinstance(value, Mapping) and isinstance(under, Mapping) else value
        )
    return both
