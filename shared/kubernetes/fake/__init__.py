"""An API server of our own, with controllers that are stepped: for tests, for trying things out, for the simulator.

Objects, resource versions, conflicts, selectors, watches and status are as Kubernetes has them; kubectl, helm and
the official client talk to it over HTTP. Pods are models, or their commands really run as processes of this machine.
"""
