"""The serving pod: checks the weights, then answers with LLaMA-Factory's API."""
