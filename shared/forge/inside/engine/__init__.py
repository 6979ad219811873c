"""Scripts of vLLM's own process: they run under its Python, and its middleware is found here."""
