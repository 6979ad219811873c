"""What HEALTHCHECK asks inside an image: `health.py http <port variable> <port> <path>`, or `health.py disk`.

Exit code 0: healthy; 1: not, with one line of why. Needs nothing but Python.
"""

import os
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

SECONDS = 3


def answers(variable: str, port: str, path: str) -> str:
    """Why nothing answers there; empty where it does. The variable holds a port, or host:port."""
    place = os.environ.get(variable) or port
    url = f"http://{place if ':' in place else f'127.0.0.1:{place}'}{path}"
    try:
        with urllib.request.urlopen(url, timeout=SECONDS):
            return ""
    except (urllib.error.URLError, OSError, ValueError) as error:
        return f"{url}: {error}"


def writes() -> str:
    """Why KUZNIA_HOME or the temporary folder cannot be written; empty where both can."""
    for folder in (os.environ.get("KUZNIA_HOME") or ".", tempfile.gettempdir()):
        probe = Path(folder) / f".health-{os.getpid()}"
        try:
            probe.write_bytes(b"x")
            probe.unlink()
        except OSError as error:
            return f"{folder}: {error}"
    return ""


def main(words: "list[str]") -> int:
    """0 or 1."""
    fault = answers(*words[1:]) if words[0] == "http" else writes()
    if fault:
        sys.stdout.write(f"{fault}\n")
    return int(bool(fault))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
