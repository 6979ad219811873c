"""The forge itself: the LLaMA-Factory environment, the base models, and the processes that train."""
