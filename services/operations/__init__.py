"""What only somebody knows who knows all services: whether their records agree with each other."""
