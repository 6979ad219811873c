"""The targets of `make`: each makes what it needs first, once, and is then instant to start."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from infra.venv import PYTHON, ROOT, VENV, clouds, prepare
from shared.errors import Reject
from shared.forge import steps
from shared.google.emulators import Emulators

STATIC = {
    "ruff check": ["ruff", "check", "."],
    "ruff format": ["ruff", "format", "--check", "."],
    "mypy": ["mypy"],
    "import contracts": ["lint-imports"],
}
WORKERS = ("-n", "2", "--dist", "worksteal")  # halves of the list, so that what a module shares is made once
# One more than cores: what is left of the quick ones is waiting. Folders of those that passed go at once.
QUICK_WORKERS = ("-n", "3", "--dist", "worksteal", "-o", "tmp_path_retention_policy=failed")
MEMORY, ROOM = Path("/dev/shm"), 2 << 30  # where quick tests' folders lie, if so many bytes are free there
QUICK = "not slow and not trainer"
REST = "slow or trainer"

Target = Callable[[Sequence[str]], int]


def trainer(_: Sequence[str] = ()) -> int:
    """Make the LLaMA-Factory environment and the base models, in the user's cache."""
    return subprocess.call([PYTHON, "-m", "shared.forge.provision"])


def vllm(_: Sequence[str] = ()) -> int:
    """Make the vLLM environment, in the user's cache (3.5 GB; only `engine: vllm` needs it)."""
    return subprocess.call([PYTHON, "-m", "shared.forge.provision_vllm"])


def demo(arguments: Sequence[str]) -> int:
    """From a commit to an answering model, told as a story (about 5 minutes); PROFILE=emulators: on Google's."""
    return trainer() or _on_profile([str(VENV / "bin" / "kuznia"), "demo", *arguments])


def up(arguments: Sequence[str]) -> int:
    """Start the platform here, and keep it running; PROFILE=emulators: on Google's."""
    return trainer() or _on_profile([str(VENV / "bin" / "kuznia"), "up", *arguments])


def _on_profile(command: Sequence[str]) -> int:
    """Run it on the profile that PROFILE names: `local` (or nothing), or `emulators`."""
    profile = os.environ.get("PROFILE") or "local"
    if profile == "local":
        return _become(command)
    if profile != "emulators":
        raise steps.StepFailed(f"PROFILE is {profile!r}; it should be local or emulators")
    clouds()
    with Emulators(VENV / "emulators") as running:
        own = {"KUZNIA_PROFILE": "gcp", "GOOGLE_CLOUD_PROJECT": f"kuznia-{os.getpid()}"}
        return _attended(command, {**os.environ, **running.environment, **own})


def _attended(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run it to its end: Ctrl-C reaches it from the terminal, SIGTERM is passed on, and it may finish."""
    process = subprocess.Popen(list(command), env=environment)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    try:
        return process.wait()
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def contracts(arguments: Sequence[str]) -> int:
    """Hold every adapter against its port's contract: local parts, the official emulators, the fakes."""
    clouds()
    return _pytest(
        ["-m", "not kind", "tests/contracts", "tests/shared/google", "tests/shared/storage", *arguments]
    )


def bench_events(arguments: Sequence[str]) -> int:
    """CPU an event behind functions-framework, our light HTTP host, and raw ASGI, in one run."""
    clouds()
    return _become([PYTHON, "-m", "benchmarks.events", *arguments])


def bench_startup(arguments: Sequence[str]) -> int:
    """What a service's imports cost beside those of the clients that it needs."""
    clouds()
    return _become([PYTHON, "-m", "benchmarks.startup", *arguments])


def check(arguments: Sequence[str]) -> int:
    """Lint, types, import contracts and the quick tests (under 2 minutes)."""
    clouds()
    found = [_static(label, words) for label, words in STATIC.items()]
    found.append(_pytest([*QUICK_WORKERS, "-m", QUICK, *arguments], **_in_memory()))
    return int(any(found))


def test(arguments: Sequence[str]) -> int:
    """Everything: `check`, then the tests with real processes and the real LLaMA-Factory."""
    if trainer():
        return 1
    found = [check(arguments), _pytest([*WORKERS, "-m", REST, *arguments])]
    return int(any(found))


def bench_lifecycle(arguments: Sequence[str]) -> int:
    """Time the whole lifecycle beside the same steps by hand."""
    return trainer() or _become([PYTHON, "-m", "benchmarks.lifecycle", *arguments])


def bench_hotload(arguments: Sequence[str]) -> int:
    """From the event to the first token: an adapter hot-loaded into a running vLLM, beside a new server."""
    return trainer() or vllm() or _become([PYTHON, "-m", "benchmarks.hotload", *arguments])


def torture(arguments: Sequence[str]) -> int:
    """Kill the platform KILLS times under a stream of pushes; nothing is lost or doubled (SEED=n)."""
    return _become([PYTHON, "-m", "tests.integration.torture", *arguments])


def simulate(arguments: Sequence[str]) -> int:
    """Run the platform through seeded worlds full of faults; SEEDS, START, JOBS and REPORT say which."""
    return _become([PYTHON, "tests/simulation/run.py", *arguments])


def mutants(arguments: Sequence[str]) -> int:
    """Plant bugs, one at a time, and see the simulator find them; JOBS and SAMPLE say how."""
    return _become([PYTHON, "tests/simulation/kill.py", *arguments])


def bench_bus(arguments: Sequence[str]) -> int:
    """Time the local bus beside plain SQLite: events a second, cost an event as the log grows."""
    return _become([PYTHON, "-m", "benchmarks.bus", *arguments])


def clean(_: Sequence[str]) -> int:
    """Remove .venv and .kuznia of this checkout; the heavy parts stay in the user's cache."""
    for folder in (VENV, ROOT / ".kuznia"):
        if folder.exists():
            shutil.rmtree(folder)
            steps.say(f"removed {folder}\n")
    return 0


def show_help(_: Sequence[str] = ()) -> int:
    """Say what there is."""
    steps.say(
        "Kuźnia takes a committed config and forges a served, documented, accountable model out of it.\n\n"
    )
    for name, target in TARGETS.items():
        steps.say(f"  make {name:<16} {(target.__doc__ or '').splitlines()[0]}\n")
    steps.say("\nMore for the command behind it: make check ARGS='-k webhook'\n")
    steps.say("Without make: python3 infra/bootstrap.py <target> …\n")
    return 0


TARGETS: dict[str, Target] = {
    "demo": demo,
    "test": test,
    "check": check,
    "trainer": trainer,
    "vllm": vllm,
    "contracts": contracts,
    "bench-lifecycle": bench_lifecycle,
    "bench-events": bench_events,
    "bench-startup": bench_startup,
    "bench-bus": bench_bus,
    "bench-hotload": bench_hotload,
    "torture": torture,
    "simulate": simulate,
    "mutants": mutants,
    "up": up,
    "clean": clean,
    "help": show_help,
}
_WITHOUT_VENV = ("clean", "help")


def _static(label: str, words: list[str]) -> int:
    """One checker, silent where it finds nothing."""
    try:
        with steps.step(label):
            subprocess.run(
                [VENV / "bin" / words[0], *words[1:]],
                check=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
    except subprocess.CalledProcessError as error:
        steps.say(error.output.decode(errors="replace") + "\n")
        return error.returncode
    return 0


def _in_memory() -> dict[str, str]:
    """Temporary folders that wait for no disk: thousands of small databases are synced to it otherwise."""
    usable = MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM
    return {"PYTEST_DEBUG_TEMPROOT": str(MEMORY)} if usable else {}


def _pytest(arguments: Sequence[str], **variables: str) -> int:
    """Bytecode is written whatever the machine's images say: pytest makes that of 400 files anew otherwise."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return subprocess.call([PYTHON, "-m", "pytest", *arguments], env=environment | variables)


def _become(command: Sequence[str | Path]) -> int:
    os.execv(command[0], [str(word) for word in command])


def main(arguments: Sequence[str]) -> int:
    """Make `.venv`, then run the target that the first argument names."""
    name, *rest = arguments or ["help"]
    if name not in TARGETS:
        sys.stderr.write(f"✗ there is no target {name!r}; there are: {', '.join(TARGETS)}\n")
        return 2
    try:
        if name not in _WITHOUT_VENV:
            prepare()
        return TARGETS[name](rest)
    except (steps.StepFailed, Reject, OSError) as error:
        sys.stderr.write(f"✗ {steps.explain(error)}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("\n✗ stopped; run it again to go on\n")
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
