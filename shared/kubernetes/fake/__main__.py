"""`python -m shared.kubernetes.fake [--port 8001] [--run FOLDER] [--namespace NAME …]`: a cluster to try things on.

Then `kubectl --server http://127.0.0.1:8001 get pods -A`, or KUZNIA_K8S_URL=http://127.0.0.1:8001. With --run the
containers' commands are run as processes of this machine, in that folder, with this program's environment.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from shared.kubernetes.fake.service import FakeService


def main(words: Sequence[str]) -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m shared.kubernetes.fake", description=__doc__)
    parser.add_argument("--port", type=int, default=8001)
    parser.add_argument("--run", type=Path, metavar="FOLDER")
    parser.add_argument("--namespace", action="append", default=[], metavar="NAME")
    parser.add_argument("--gpus", type=int, default=8, help="of the one node")
    chosen = parser.parse_args(words)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    service = FakeService(chosen.run.absolute() if chosen.run else None, os.environ, chosen.port)
    service.cluster.node("node-0", gpus=str(chosen.gpus))
    for name in chosen.namespace:
        service.cluster.namespace(name)
    service.start()
    sys.stdout.write(f"{service.url}\n")
    sys.stdout.flush()
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    service.close()


if __name__ == "__main__":
    main(sys.argv[1:])
