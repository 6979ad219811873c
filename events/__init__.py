"""What the services say to each other. Imports nothing else of ours; one module an event."""
