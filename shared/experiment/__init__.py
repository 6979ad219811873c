"""What a data scientist commits: reading it, checking all of it at once, and writing a first one."""
