resource "google_container_cluster" "this" {
  name                = var.name
  location            = var.region
  node_locations      = var.zones
  resource_labels     = local.labels
  deletion_protection = var.deletion_protection

  network    = google_compute_network.this.id
  subnetwork = google_compute_subnetwork.nodes.id

  # The pools below replace it; it has to be there while the cluster is made.
  remove_default_node_pool = true
  initial_node_count       = 1

  node_config {
    service_account = google_service_account.nodes.email
    oauth_scopes    = ["https://www.googleapis.com/auth/cloud-platform"]

    shielded_instance_config {
      enable_secure_boot          = true
      enable_integrity_monitoring = true
    }
  }

  # Dataplane V2: network policies are enforced, and what they drop can be logged.
  datapath_provider     = "ADVANCED_DATAPATH"
  enable_shielded_nodes = true

  ip_allocation_policy {
    cluster_secondary_range_name  = "pods"
    services_secondary_range_name = "services"
  }

  private_cluster_config {
    enable_private_nodes = true
  }

  # No address at all: the control plane is reached by name, with a Google identity, and IAM says whose.
  control_plane_endpoints_config {
    dns_endpoint_config {
      allow_external_traffic = true
    }

    ip_endpoints_config {
      enabled = false
    }
  }

  workload_identity_config {
    workload_pool = "${var.project}.svc.id.goog"
  }

  release_channel {
    channel = "REGULAR"
  }

  maintenance_policy {
    recurring_window {
      start_time = "2026-01-03T01:00:00Z"
      end_time   = "2026-01-03T07:00:00Z"
      recurrence = "FREQ=WEEKLY;BYDAY=SA,SU"
    }
  }

  addons_config {
    gcs_fuse_csi_driver_config {
      enabled = true
    }

    dns_cache_config {
      enabled = true
    }
  }

  # Secrets are mounted into pods as files, by the rights of the pod's own account.
  secret_manager_config {
    enabled = true
  }

  logging_config {
    enable_components = ["SYSTEM_COMPONENTS", "WORKLOADS"]
  }

  monitoring_config {
    enable_components = ["SYSTEM_COMPONENTS", "JOBSET"]

    managed_prometheus {
      enabled = true
    }
  }

  security_posture_config {
    mode               = "BASIC"
    vulnerability_mode = "VULNERABILITY_DISABLED"
  }

  master_auth {
    client_certificate_config {
      issue_client_certificate = false
    }
  }

  lifecycle {
    ignore_changes = [initial_node_count, node_config]
  }

  depends_on = [google_project_iam_member.nodes]
}

resource "google_container_node_pool" "cpu" {
  name           = "cpu"
  cluster        = google_container_cluster.this.id
  node_locations = var.zones

  # One at least, for the cluster's own pods; over all zones together.
  autoscaling {
    total_min_node_count = 1
    total_max_node_count = var.cpu_max_nodes
    location_policy      = "BALANCED"
  }

  management {
    auto_repair  = true
    auto_upgrade = true
  }

  node_config {
    machine_type    = var.cpu_machine_type
    disk_type       = "pd-balanced"
    disk_size_gb    = 100
    image_type      = "COS_CONTAINERD"
    service_account = google_service_account.nodes.email
    oauth_scopes    = ["https://www.googleapis.com/auth/cloud-platform"]
    resource_labels = local.labels

    shielded_instance_config {
      enable_secure_boot          = true
      enable_integrity_monitoring = true
    }

    # Pods get the identity of their Kubernetes account, never the node's.
    workload_metadata_config {
      mode = "GKE_METADATA"
    }

    metadata = {
      disable-legacy-endpoints = "true"
    }
  }

  lifecycle {
    ignore_changes = [node_config[0].resource_labels["goog-gke-node-pool-provisioning-model"]]
  }
}

resource "google_container_node_pool" "gpu" {
  for_each = var.gpu_pools

  name           = "gpu-${each.key}"
  cluster        = google_container_cluster.this.id
  node_locations = var.zones

  # From none, over all zones together: a GPU that nobody uses costs nothing.
  autoscaling {
    total_min_node_count = 0
    total_max_node_count = each.value.max_nodes
    location_policy      = "ANY"
  }

  management {
    auto_repair  = true
    auto_upgrade = true
  }

  node_config {
    machine_type    = each.value.machine_type
    disk_type       = "pd-balanced"
    disk_size_gb    = each.value.disk_gb
    image_type      = "COS_CONTAINERD"
    spot            = each.value.spot
    service_account = google_service_account.nodes.email
    oauth_scopes    = ["https://www.googleapis.com/auth/cloud-platform"]
    resource_labels = local.labels

    guest_accelerator {
      type  = each.value.accelerator
      count = each.value.count

      gpu_driver_installation_config {
        gpu_driver_version = "DEFAULT"
      }
    }

    # Image streaming: a trainer starts before all of its image is there.
    gcfs_config {
      enabled = true
    }

    gvnic {
      enabled = true
    }

    taint {
      key    = "nvidia.com/gpu"
      value  = "present"
      effect = "NO_SCHEDULE"
    }

    # Secure boot would refuse the GPU's driver, which is no part of the signed image.
    shielded_instance_config {
      enable_secure_boot          = false
      enable_integrity_monitoring = true
    }

    workload_metadata_config {
      mode = "GKE_METADATA"
    }

    metadata = {
      disable-legacy-endpoints = "true"
    }
  }
}
