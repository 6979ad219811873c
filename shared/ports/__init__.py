"""What the platform needs from the world, in our own words: Protocols, one a file."""
