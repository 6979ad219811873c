# The least that stands: one tenant, CPU only, everything in one pod. docs/deploy-gcp.md goes through it.
project = "my-kuznia-project"
zones   = ["europe-west4-a"]
tenants = ["acme"]

alert_emails = ["ops@example.com"]
