"""Controllers, stepped: each looks at the objects as they are and does the next thing, or nothing."""
