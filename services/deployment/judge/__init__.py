"""The judging pod: asks a canary's engine and the live version's the same questions, and measures the answers."""
