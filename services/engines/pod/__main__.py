"""`python -m services.engines.pod`, as the cluster starts it."""

from __future__ import annotations

import sys

from services.engines.pod.main import main

if __name__ == "__main__":
    sys.exit(main())
