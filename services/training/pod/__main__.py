"""`python -m services.training.pod`, as the cluster starts it."""

from __future__ import annotations

import sys

from services.training.pod.main import main

if __name__ == "__main__":
    sys.exit(main())
