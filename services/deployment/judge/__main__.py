"""`python -m services.deployment.judge`, as the cluster starts it."""

from __future__ import annotations

import sys

from services.deployment.judge.main import main

if __name__ == "__main__":
    sys.exit(main())
