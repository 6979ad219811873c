# Two tenants; an account and a pod for each service; GPUs by the minute.
project = "my-kuznia-project"
layout  = "apart"
zones   = ["europe-west4-a", "europe-west4-b"]
tenants = ["team-x", "team-y"]

gpu_pools = {
  l4   = { machine_type = "g2-standard-8", accelerator = "nvidia-l4", max_nodes = 4 }
  a100 = { machine_type = "a2-highgpu-1g", accelerator = "nvidia-tesla-a100", disk_gb = 300 }
}

secrets = {
  hf-token     = { tenants = ["team-x"] }
  forge-token  = { parts = ["status"] }
  outbound-key = { parts = ["outbound"] }
}

operators       = ["group:ops@example.com"]
alert_emails    = ["ops@example.com"]
billing_account = "012345-6789AB-CDEF01"
monthly_budget  = 2000
audit_locked    = false
