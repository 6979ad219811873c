"""For the trainer's own Python, run as `python -m shared.forge.inside.<name>`; we never import them."""
