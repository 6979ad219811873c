"""The embedded default: SQLite bus and store, directory artifacts, processes. Durable and kill -9-proof."""
