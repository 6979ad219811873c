"""Names: the top-level ones are ours alone, and nothing of the machine it was written on is committed."""

from __future__ import annotations

import re
from importlib.metadata import packages_distributions
from pathlib import PurePosixPath

import pytest

from tests.architecture.source import PACKAGES, ROOT, files

# A home or working folder of some person or machine; `/home/ann` and the like are examples in tests.
MACHINE = re.compile(
    rb"(?<![\w./-])/(?:(?:work|root|Users)\b|home/(?!(?:ann|user|x|app|kuznia|nonroot|vscode)\b)[a-z])[/\w-]*"
)
# Any package registry or mirror: where packages come from is the machine's business.
REGISTRY = re.compile(rb"(?:index-url|extra-index-url|registry)\s*[=:]\s*[\"']?https?://[\w.:-]+")
CREDENTIAL = re.compile(
    rb"(?:ghp_[A-Za-z0-9]{30,}|hf_[A-Za-z0-9]{30,}|AKIA[0-9A-Z]{16}|-----BEGIN [A-Z ]*PRIVATE KEY-----)"
)
BINARY = {".png", ".jpg", ".gz", ".woff2", ".ico", ".zip", ".pdf"}
HERE = "tests/architecture/test_names.py"
LARGEST = 1_000_000  # bytes


def texts() -> list[tuple[str, bytes]]:
    return [
        (path, (ROOT / path).read_bytes())
        for path in files()
        if PurePosixPath(path).suffix not in BINARY and path != HERE
    ]


@pytest.mark.parametrize("name", PACKAGES)
def test_the_top_level_name_is_ours_alone(name: str):
    found = packages_distributions().get(name, [])
    assert set(found) <= {"kuznia"}, f"{name} is also the name of {found}"
    assert __import__(name).__file__ == str(ROOT / name / "__init__.py")


@pytest.mark.parametrize(("what", "pattern"), [("machine", MACHINE), ("registry", REGISTRY)])
def test_nothing_of_one_machine_is_committed(what: str, pattern: re.Pattern[bytes]):
    found = [f"{path}: {match[0].decode()}" for path, text in texts() for match in pattern.finditer(text)]
    assert found == [], "\n".join(["", *found])


def test_no_credential_is_committed():
    found = [path for path, text in texts() if CREDENTIAL.search(text) and not path.startswith("tests/")]
    assert found == []


def test_no_file_is_large():
    assert [path for path in files() if (ROOT / path).stat().st_size > LARGEST] == []


def test_names_of_files_are_plain():
    assert [path for path in files() if not re.fullmatch(r"[\w./@+~-]+", path, re.ASCII)] == []


def test_tests_mirror_what_they_test():
    """A test folder under tests/services or tests/shared stands for a package or module of that name."""
    for path in files():
        parts = PurePosixPath(path).parts
        if len(parts) > 3 and parts[0] == "tests" and parts[1] in ("services", "shared"):
            place = ROOT / parts[1] / parts[2]
            assert place.is_dir() or place.with_suffix(".py").exists(), f"{path} mirrors nothing"


def test_the_patterns_see_what_they_are_there_to_see():
    assert MACHINE.search(b"cd /" + b"work/tree")
    assert MACHINE.search(b'"/home/zed/src"')
    assert MACHINE.search(b"/" + b"root/.cache")
    assert not MACHINE.search(b"https://example.org/work/x and ./work and a/home/b and /workloads")
    assert not MACHINE.search(b"/home/ann")
    assert REGISTRY.search(b"index-url = https://mirror.example:8080/simple")
    assert not REGISTRY.search(b"index-url is the machine's own")
    assert CREDENTIAL.search(b"AKIA" + b"A" * 16)
