"""`python -m services.validation.pod`, as the cluster starts it."""

from __future__ import annotations

import sys

from services.validation.pod.main import main

if __name__ == "__main__":
    sys.exit(main())
