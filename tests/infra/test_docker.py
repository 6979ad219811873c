"""The images: what their Dockerfiles may and must say; built and started where a container engine runs."""

from __future__ import annotations

import fnmatch
import importlib.util
import json
import re
import shutil
import subprocess
import sys
import threading
import tomllib
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "infra" / "docker"
PINS = ROOT / "infra" / "pins"
NAMES = ("control", "trainer", "engine")
LABELS = ("title", "description", "licenses", "version", "revision")
SECRET = re.compile(r"(?:TOKEN|SECRET|PASSWORD|PASSWD|API_?KEY|PRIVATE_?KEY)\w*[= ]", re.IGNORECASE)
HOSTED = re.compile(r"^[\w-]+(?:\.[\w-]+)+(?::\d+)?/|^localhost[:/]")
Capability = Callable[[str, bool, str], None]
Instruction = tuple[str, str]


def instructions(text: str) -> list[Instruction]:
    """(word, rest), continuation lines joined, comments left out."""
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    joined = re.sub(r"\\\n\s*", " ", lines)
    return [
        (line.split(None, 1)[0].upper(), line.split(None, 1)[1].strip())
        for line in joined.splitlines()
        if line.strip()
    ]


def faults(text: str) -> list[str]:
    """All that is wrong with a Dockerfile."""
    found = instructions(text)
    stages = [place for place, (word, _) in enumerate(found) if word == "FROM"]
    return [*_bases(found), *_steps(found), *_end(found[stages[-1] :])]


def _bases(found: list[Instruction]) -> Iterator[str]:
    defaults = dict(rest.split("=", 1) for word, rest in found if word == "ARG" and "=" in rest)
    for base in (rest.split()[0] for word, rest in found if word == "FROM"):
        if not (name := re.fullmatch(r"\$\{(\w+)\}", base)):
            yield f"FROM {base}: the base must be an ARG"
            continue
        default = defaults.get(name[1], "")
        if ":" not in default or default.endswith(":latest"):
            yield f"ARG {name[1]}={default}: it must name a version"
        if HOSTED.match(default):
            yield f"ARG {name[1]}={default}: no registry host in a default"


def _steps(found: list[Instruction]) -> Iterator[str]:
    for word, rest in found:
        if word == "ADD":
            yield f"ADD {rest}: COPY what lies here, and fetch nothing by a URL"
        if word in ("ENV", "ARG") and SECRET.search(f"{rest} "):
            yield f"{word} {rest}: a secret would lie in the image"
        if (
            word == "COPY"
            and re.search(r"(?:^|\s)\.(?:\s|/\s)", rest)
            and "--from" not in rest
            and rest.startswith(".")
        ):
            yield f"COPY {rest}: name what the image gets"
        if word != "RUN":
            continue
        if "pip install" in rest and rest.count("pip install") != rest.count("--no-cache-dir"):
            yield "RUN pip install without --no-cache-dir"
        if re.search(r"pip install(?!.*-c \S+\.txt)", rest):
            yield "RUN pip install without the pins"
        if "apt-get install" in rest and (
            "--no-install-recommends" not in rest or "rm -rf /var/lib/apt" not in rest
        ):
            yield "RUN apt-get install without --no-install-recommends, or leaving its lists"
        if re.search(r"curl|wget|\bsudo\b", rest):
            yield f"RUN {rest}: nothing is fetched past the package managers"


def _end(stage: list[Instruction]) -> Iterator[str]:
    users = [rest for word, rest in stage if word == "USER"]
    if not users or not re.fullmatch(r"[1-9]\d*:[1-9]\d*", users[-1]):
        yield f"USER {users[-1] if users else 'is missing'}: a number that is not root's, so that Kubernetes can tell"
    words = [word for word, _ in stage]
    for needed in ("HEALTHCHECK", "ENTRYPOINT", "CMD", "LABEL"):
        if needed not in words:
            yield f"{needed} is missing"
    for word, rest in stage:
        if word in ("ENTRYPOINT", "CMD") and not isinstance(_json(rest), list):
            yield f"{word} {rest}: as a list, or signals go to a shell"
    labels = " ".join(rest for word, rest in stage if word == "LABEL")
    for label in LABELS:
        if f"org.opencontainers.image.{label}=" not in labels:
            yield f"LABEL org.opencontainers.image.{label} is missing"


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return None


def dockerfile(name: str) -> str:
    return (DOCKER / f"{name}.Dockerfile").read_text()


def pins(name: str) -> dict[str, str]:
    lines = (PINS / name).read_text().split()
    return {line.split("==")[0].lower().replace("_", "-"): line for line in lines if "==" in line}


@pytest.mark.parametrize("name", NAMES)
def test_a_dockerfile_is_as_it_should_be(name: str):
    assert faults(dockerfile(name)) == []


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("USER 10001:10001", "USER root", "USER root"),
        ("USER 10001:10001", "USER 0:0", "USER 0:0"),
        ("HEALTHCHECK", "# HEALTHCHECK", "HEALTHCHECK is missing"),
        ("FROM ${PYTHON_IMAGE} AS build", "FROM python AS build", "must be an ARG"),
        ("python:3.11.7-slim-bookworm", "python:latest", "must name a version"),
        ("python:3.11.7-slim-bookworm", "mirror.example.com/python:3.11", "no registry host"),
        ("--no-cache-dir", "", "without --no-cache-dir"),
        ("-c infra/pins/control.txt -c infra/pins/google.txt", "", "without the pins"),
        ("--no-install-recommends", "", "apt-get install without"),
        ("COPY events events", "ADD https://example.com/x /x", "fetch nothing by a URL"),
        ("COPY events events", "COPY . .", "name what the image gets"),
        ("ARG VERSION=0.1.0", "ARG HF_TOKEN=x", "a secret would lie"),
        ('CMD ["kuznia", "up"]', "CMD kuznia up", "signals go to a shell"),
        ("org.opencontainers.image.licenses", "licenses", "image.licenses is missing"),
    ],
)
def test_what_should_not_be_is_seen(old: str, new: str, told: str):
    text = dockerfile("control")
    assert old in text
    assert any(told in fault for fault in faults(text.replace(old, new)))


@pytest.mark.parametrize("name", NAMES)
def test_what_is_copied_is_there_and_not_ignored(name: str):
    for word, rest in instructions(dockerfile(name)):
        if word != "COPY" or rest.startswith("--from"):
            continue
        for source in rest.split()[:-1]:
            assert (ROOT / source).exists(), source
            assert not ignored(source), f"{source} is in .dockerignore"


def ignored(path: str) -> bool:
    """By the rules of .dockerignore: the last line that matches it, or a folder above it, decides."""
    out = False
    for line in (ROOT / ".dockerignore").read_text().split("\n"):
        pattern = line.strip()
        if not pattern or pattern.startswith("#"):
            continue
        wanted = pattern.removeprefix("!")
        above = [path, *(str(parent) for parent in Path(path).parents if str(parent) != ".")]
        if any(_matches(one, wanted) for one in above):
            out = not pattern.startswith("!")
    return out


def _matches(path: str, pattern: str) -> bool:
    tail = pattern.removeprefix("**/")
    if tail != pattern:
        return any(fnmatch.fnmatchcase(part, tail) for part in Path(path).parts)
    return path.count("/") == pattern.count("/") and fnmatch.fnmatchcase(path, pattern)


@pytest.mark.parametrize(
    "path",
    [
        "tests/conftest.py",
        ".git/config",
        ".kuznia/secrets/x",
        ".venv/bin/python",
        "infra/terraform/pubsub.tf",
        "infra/docker/control.Dockerfile",
        "services/.env",
        "shared/tls.key",
        "shared/__pycache__/x.pyc",
    ],
)
def test_what_an_image_does_not_need_stays_out(path: str):
    assert ignored(path)


def test_versions_are_the_project_s():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    for name in NAMES:
        text = dockerfile(name)
        assert f"ARG VERSION={version}\n" in text
        assert set(re.findall(r"kuznia-\w+(?:-gpu)?:([\w.]+)", text)) == {version}


def test_what_is_started_is_there():
    for name in NAMES:
        (command,) = [_json(rest) for word, rest in instructions(dockerfile(name)) if word == "CMD"]
        assert isinstance(command, list)
        if "-m" in command:
            assert importlib.util.find_spec(f"{command[command.index('-m') + 1]}.__main__")
        else:
            scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
            assert command[0] in scripts


def test_the_pins_of_one_image_agree():
    control, google = pins("control.txt"), pins("google.txt")
    assert {name for name in control.keys() & google.keys() if control[name] != google[name]} == set()


def test_the_gpu_s_trainer_is_the_cpu_s_with_what_cuda_brings():
    cpu, gpu = pins("trainer-cpu.txt"), pins("trainer-gpu.txt")
    assert {name: gpu.get(name) for name in cpu} == cpu
    assert {gpu[name] for name in gpu.keys() - cpu.keys()} == {"torchvision==0.28.0", "torchaudio==2.11.0"}


@pytest.fixture
def answering() -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/healthz" else 503)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


def health(*words: str, **environment: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, DOCKER / "health.py", *words],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    return done.returncode, done.stdout


def test_health_is_an_answer(answering: int):
    assert health("http", "KUZNIA_PORT", "1", "/healthz", KUZNIA_PORT=str(answering)) == (0, "")
    assert health("http", "KUZNIA_ADDRESS", "1", "/healthz", KUZNIA_ADDRESS=f"127.0.0.1:{answering}") == (
        0,
        "",
    )


def test_no_answer_or_a_bad_one_is_no_health(answering: int):
    code, said = health("http", "KUZNIA_PORT", str(answering), "/other")
    assert (code, "503" in said) == (1, True)
    code, said = health("http", "KUZNIA_PORT", "1", "/healthz")
    assert (code, said.startswith("http://127.0.0.1:1/healthz: ")) == (1, True)


def test_a_disk_that_takes_nothing_is_no_health(tmp_path: Path):
    assert health("disk", KUZNIA_HOME=str(tmp_path), TMPDIR=str(tmp_path)) == (0, "")
    assert list(tmp_path.iterdir()) == []
    code, said = health("disk", KUZNIA_HOME=str(tmp_path / "gone"), TMPDIR=str(tmp_path))
    assert (code, str(tmp_path / "gone") in said) == (1, True)


@pytest.fixture
def engine(capability: Capability) -> str:
    """A container engine that runs, and can get the base image."""
    running = [name for name in ("docker", "podman") if _ends_well(name, "info")]
    capability("containers", bool(running), "a container engine that runs (docker or podman)")
    base = dict(
        rest.split("=", 1)
        for word, rest in instructions(dockerfile("control"))
        if word == "ARG" and "=" in rest
    )
    got = _ends_well(running[0], "pull", base["PYTHON_IMAGE"])
    capability("containers", got, f"a registry that {base['PYTHON_IMAGE']} can be pulled from")
    return running[0]


def _ends_well(*words: str) -> bool:
    if shutil.which(words[0]) is None:
        return False
    return subprocess.run(words, capture_output=True, check=False, timeout=300).returncode == 0


@pytest.mark.slow
def test_the_control_image_is_built_and_answers_with_nothing_writable_but_home(engine: str):
    build = [
        engine,
        "build",
        "-f",
        str(DOCKER / "control.Dockerfile"),
        "-t",
        "kuznia-control:test",
        str(ROOT),
    ]
    done = subprocess.run(build, capture_output=True, text=True, check=False, timeout=540)
    assert done.returncode == 0, done.stdout + done.stderr
    closed = ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
    probe = "kuznia up & for i in $(seq 60); do python infra/docker/health.py http KUZNIA_PORT 8500 /healthz && exit 0; sleep 1; done; exit 1"
    words = [engine, "run", "--rm", *closed, "--network", "none", "kuznia-control:test", "sh", "-c", probe]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
