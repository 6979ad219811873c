# Topics, subscriptions and dead letters under the names that shared/google/topics.py gives them.

resource "google_pubsub_topic" "event" {
  for_each = toset(local.catalog_events)

  name                       = each.key
  labels                     = local.labels
  message_retention_duration = "${local.catalog_delivery.kept_seconds}s"

  depends_on = [google_project_service.this]
}

resource "google_pubsub_topic" "dead" {
  for_each = local.catalog_services

  name   = "${each.key}.dead"
  labels = local.labels

  depends_on = [google_project_service.this]
}

# Without a subscription what is forwarded to a dead-letter topic would vanish.
resource "google_pubsub_subscription" "dead" {
  for_each = local.catalog_services

  name                       = "${each.key}.dead"
  topic                      = google_pubsub_topic.dead[each.key].id
  labels                     = local.labels
  ack_deadline_seconds       = local.catalog_delivery.ack_seconds
  message_retention_duration = "${local.catalog_delivery.kept_seconds}s"

  expiration_policy {
    ttl = ""
  }

  retry_policy {
    minimum_backoff = "${local.catalog_delivery.first_retry_seconds}s"
    maximum_backoff = "${local.catalog_delivery.longest_retry_seconds}s"
  }
}

resource "google_pubsub_subscription" "heard" {
  for_each = local.catalog_subscriptions

  name                       = each.key
  topic                      = google_pubsub_topic.event[each.value.event].id
  labels                     = local.labels
  ack_deadline_seconds       = contains(keys(local.pushed), each.value.service) ? local.catalog_delivery.push_ack_seconds : local.catalog_delivery.ack_seconds
  message_retention_duration = "${local.catalog_delivery.kept_seconds}s"
  enable_message_ordering    = true

  expiration_policy {
    ttl = ""
  }

  retry_policy {
    minimum_backoff = "${local.catalog_delivery.first_retry_seconds}s"
    maximum_backoff = "${local.catalog_delivery.longest_retry_seconds}s"
  }

  dead_letter_policy {
    dead_letter_topic     = google_pubsub_topic.dead[each.value.service].id
    max_delivery_attempts = local.catalog_delivery.attempts
  }

  # Unwrapped, with attributes as headers: a CloudEvent in binary mode.
  dynamic "push_config" {
    for_each = contains(keys(local.pushed), each.value.service) ? [google_cloud_run_v2_service.service[each.value.service].uri] : []

    content {
      push_endpoint = "${push_config.value}/${each.value.service}"

      no_wrapper {
        write_metadata = true
      }

      oidc_token {
        service_account_email = google_service_account.push[0].email
        audience              = local.push_audience
      }
    }
  }

  depends_on = [google_pubsub_topic_iam_member.forwards]
}

# Pub/Sub itself publishes to dead-letter topics, and acknowledges what it forwarded.
resource "google_pubsub_topic_iam_member" "forwards" {
  for_each = local.catalog_services

  topic  = google_pubsub_topic.dead[each.key].id
  role   = "roles/pubsub.publisher"
  member = local.pubsub_agent
}

resource "google_pubsub_subscription_iam_member" "forwards" {
  for_each = local.catalog_subscriptions

  subscription = google_pubsub_subscription.heard[each.key].id
  role         = "roles/pubsub.subscriber"
  member       = local.pubsub_agent
}

# A part publishes what it says, and leases what it hears: nothing else.
resource "google_pubsub_topic_iam_member" "says" {
  for_each = local.publishers

  topic  = google_pubsub_topic.event[each.value.event].id
  role   = "roles/pubsub.publisher"
  member = google_service_account.part[each.value.part].member
}

resource "google_pubsub_subscription_iam_member" "hears" {
  for_each = local.catalog_subscriptions

  subscription = google_pubsub_subscription.heard[each.key].id
  role         = "roles/pubsub.subscriber"
  member       = google_service_account.part[local.part_of[each.value.service]].member
}

resource "google_pubsub_subscription_iam_member" "buries" {
  for_each = local.catalog_services

  subscription = google_pubsub_subscription.dead[each.key].id
  role         = "roles/pubsub.subscriber"
  member       = google_service_account.part[local.part_of[each.key]].member
}

# A trainer says how it goes on, and nothing that a service says.
resource "google_pubsub_topic_iam_member" "tenant_says" {
  for_each = local.tenant_publishers

  topic  = google_pubsub_topic.event[each.value.event].id
  role   = "roles/pubsub.publisher"
  member = google_service_account.trainer[each.value.tenant].member
}
