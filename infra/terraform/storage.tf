resource "google_storage_bucket" "artifacts" {
  name                        = "${var.project}-${var.name}-artifacts"
  location                    = var.region
  labels                      = local.labels
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = !var.deletion_protection

  versioning {
    enabled = true
  }

  soft_delete_policy {
    retention_duration_seconds = 604800
  }

  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      with_state                 = "ARCHIVED"
      days_since_noncurrent_time = var.artifact_history_days
    }
  }

  lifecycle_rule {
    action {
      type = "AbortIncompleteMultipartUpload"
    }
    condition {
      age = 7
    }
  }

  # Parts of large uploads: what they became stays, so they are no history; what a killed pod left goes as well.
  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      age            = 2
      matches_prefix = [local.catalog_unfinished]
      with_state     = "ANY"
    }
  }

  depends_on = [google_project_service.this]
}

# What must outlive its writer: nobody deletes or overwrites an object before its time.
resource "google_storage_bucket" "audit" {
  name                        = "${var.project}-${var.name}-audit"
  location                    = var.region
  labels                      = local.labels
  storage_class               = "NEARLINE"
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = false

  retention_policy {
    retention_period = var.audit_retention_days * 86400
    is_locked        = var.audit_locked
  }

  lifecycle_rule {
    action {
      type          = "SetStorageClass"
      storage_class = "ARCHIVE"
    }
    condition {
      age = 90
    }
  }

  depends_on = [google_project_service.this]
}

# Who changed what is in this project, and who read a secret, goes to the audit bucket.
resource "google_project_iam_audit_config" "secrets" {
  project = var.project
  service = "secretmanager.googleapis.com"

  audit_log_config {
    log_type = "DATA_READ"
  }

  audit_log_config {
    log_type = "DATA_WRITE"
  }
}

resource "google_logging_project_sink" "audit" {
  name                   = "${var.name}-audit"
  destination            = "storage.googleapis.com/${google_storage_bucket.audit.name}"
  filter                 = "log_id(\"cloudaudit.googleapis.com/activity\") OR log_id(\"cloudaudit.googleapis.com/data_access\")"
  unique_writer_identity = true
}

resource "google_storage_bucket_iam_member" "audit_writer" {
  bucket = google_storage_bucket.audit.name
  role   = "roles/storage.objectCreator"
  member = google_logging_project_sink.audit.writer_identity
}

# The platform's own parts: cards and reports are written, weights are read.
resource "google_storage_bucket_iam_member" "part" {
  for_each = { for part, rights in local.parts : part => rights if rights.artifacts != "none" }

  bucket = google_storage_bucket.artifacts.name
  role   = each.value.artifacts == "write" ? "roles/storage.objectUser" : "roles/storage.objectViewer"
  member = google_service_account.part[each.key].member
}

# A tenant's pods see their own part of the bucket; a listing is judged by the prefix it asks for. A trainer also puts
# parts of large uploads aside, where shared/storage/google.py does.
resource "google_storage_bucket_iam_member" "trainer" {
  for_each = var.tenants

  bucket = google_storage_bucket.artifacts.name
  role   = "roles/storage.objectUser"
  member = google_service_account.trainer[each.key].member

  condition {
    title       = "own prefix"
    description = "Objects of this tenant"
    expression  = "resource.name.startsWith(\"${local.objects}tenants/${each.key}/\") || resource.name.startsWith(\"${local.objects}${local.catalog_unfinished}tenants/${each.key}/\") || api.getAttribute(\"storage.googleapis.com/objectListPrefix\", \"\").startsWith(\"tenants/${each.key}/\")"
  }
}

resource "google_storage_bucket_iam_member" "engine" {
  for_each = var.tenants

  bucket = google_storage_bucket.artifacts.name
  role   = "roles/storage.objectViewer"
  member = google_service_account.engine[each.key].member

  condition {
    title       = "own prefix"
    description = "Objects of this tenant"
    expression  = "resource.name.startsWith(\"${local.objects}tenants/${each.key}/\") || api.getAttribute(\"storage.googleapis.com/objectListPrefix\", \"\").startsWith(\"tenants/${each.key}/\")"
  }
}

resource "google_artifact_registry_repository" "images" {
  repository_id = var.name
  location      = var.region
  format        = "DOCKER"
  description   = "Control, trainer and engine images"
  labels        = local.labels

  docker_config {
    immutable_tags = true
  }

  cleanup_policies {
    id     = "keep-recent"
    action = "KEEP"

    most_recent_versions {
      keep_count = 20
    }
  }

  cleanup_policies {
    id     = "delete-old"
    action = "DELETE"

    condition {
      older_than = "7776000s"
    }
  }

  depends_on = [google_project_service.this]
}

resource "google_artifact_registry_repository_iam_member" "nodes" {
  location   = google_artifact_registry_repository.images.location
  repository = google_artifact_registry_repository.images.name
  role       = "roles/artifactregistry.reader"
  member     = google_service_account.nodes.member
}
