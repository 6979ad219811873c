"""Tokens a second on a GPU: through our pods, and through bare llamafactory-cli and vLLM, in one run."""
