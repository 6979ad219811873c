"""HTTP with others: reading what they send, asking what they know."""
