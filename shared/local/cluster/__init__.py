"""The process cluster: jobs and servers as supervised processes of this machine, kept over restarts."""
