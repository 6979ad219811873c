"""How services are run: in one process, behind HTTP, or as a pull worker. Hosts only translate outcomes."""
