"""Console: the registry's REST API and the web pages over it.

hears: requests of people and programs; it reads the records of all services, the log and the artifacts.
says: answers; no event of its own.
owns: no record.
never: writes; works without JavaScript and without anything from another host.
"""
