# The bucket's own word: an object was written. POST /events takes that of a manifest as `checkpoint-written`, in case
# that the pod which wrote it could not say so; whatever else is written, it answers and ignores.
locals {
  told = var.events_url == "" ? {} : { bucket = var.events_url }
}

# Asking for it makes it, where the project has none yet.
data "google_storage_project_service_account" "this" {
  project = var.project

  depends_on = [google_project_service.this]
}

resource "google_pubsub_topic" "bucket" {
  for_each = local.told

  name   = "${var.name}-${each.key}"
  labels = local.labels

  depends_on = [google_project_service.this]
}

resource "google_pubsub_topic_iam_member" "bucket" {
  for_each = local.told

  topic  = google_pubsub_topic.bucket[each.key].id
  role   = "roles/pubsub.publisher"
  member = "serviceAccount:${data.google_storage_project_service_account.this.email_address}"
}

resource "google_storage_notification" "bucket" {
  for_each = local.told

  bucket             = google_storage_bucket.artifacts.name
  topic              = google_pubsub_topic.bucket[each.key].id
  payload_format     = local.catalog_notification.format
  event_types        = [local.catalog_notification.type]
  object_name_prefix = local.catalog_notification.prefix

  depends_on = [google_pubsub_topic_iam_member.bucket]
}

resource "google_service_account" "bucket" {
  for_each = local.told

  account_id   = "${var.name}-${each.key}"
  display_name = "Kuznia: whose token Pub/Sub carries with the bucket's word"

  depends_on = [google_project_service.this]
}

resource "google_service_account_iam_member" "bucket_signs" {
  for_each = local.told

  service_account_id = google_service_account.bucket[each.key].name
  role               = "roles/iam.serviceAccountTokenCreator"
  member             = local.pubsub_agent
}

# No dead letters: what is refused for good says nothing, and what is not is told by the pod as well.
resource "google_pubsub_subscription" "bucket" {
  for_each = local.told

  name                       = "${var.name}-${each.key}"
  topic                      = google_pubsub_topic.bucket[each.key].id
  labels                     = local.labels
  ack_deadline_seconds       = 60
  message_retention_duration = "86400s"

  expiration_policy {
    ttl = ""
  }

  retry_policy {
    minimum_backoff = "10s"
    maximum_backoff = "600s"
  }

  push_config {
    push_endpoint = each.value

    no_wrapper {
      write_metadata = true
    }

    oidc_token {
      service_account_email = google_service_account.bucket[each.key].email
      audience              = each.value
    }
  }

  depends_on = [google_service_account_iam_member.bucket_signs]
}
