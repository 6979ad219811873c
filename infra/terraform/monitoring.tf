resource "google_monitoring_notification_channel" "mail" {
  for_each = var.alert_emails

  display_name = "Kuznia: ${each.key}"
  type         = "email"

  labels = {
    email_address = each.key
  }

  depends_on = [google_project_service.this]
}

locals {
  channels = [for channel in google_monitoring_notification_channel.mail : channel.id]
}

resource "google_monitoring_alert_policy" "dead_letters" {
  display_name          = "Kuznia: an event was given up by Pub/Sub"
  combiner              = "OR"
  severity              = "ERROR"
  notification_channels = local.channels
  user_labels           = local.labels

  conditions {
    display_name = "Messages were forwarded to dead letters"

    condition_threshold {
      filter          = "metric.type = \"pubsub.googleapis.com/subscription/dead_letter_message_count\" AND resource.type = \"pubsub_subscription\" AND resource.labels.subscription_id = monitoring.regex.full_match(\"(${join("|", keys(local.catalog_services))})\\\\..+\")"
      comparison      = "COMPARISON_GT"
      threshold_value = 0
      duration        = "0s"

      # What is counted is what was forwarded: the subscriptions of dead letters are emptied by who hears them.
      aggregations {
        alignment_period   = "300s"
        per_series_aligner = "ALIGN_SUM"
      }
    }
  }

  documentation {
    mime_type = "text/markdown"
    content   = "`kuznia dead list` says which event and why; `kuznia dead redrive` delivers it again. See docs/operating.md."
  }

  depends_on = [google_pubsub_subscription.dead]
}

resource "google_monitoring_alert_policy" "oldest_unacked" {
  display_name          = "Kuznia: an event is not taken"
  combiner              = "OR"
  severity              = "WARNING"
  notification_channels = local.channels
  user_labels           = local.labels

  conditions {
    display_name = "Oldest unacknowledged message"

    condition_threshold {
      filter          = "metric.type = \"pubsub.googleapis.com/subscription/oldest_unacked_message_age\" AND resource.type = \"pubsub_subscription\" AND resource.labels.subscription_id = monitoring.regex.full_match(\"(${join("|", keys(local.catalog_services))})\\\\..+\")"
      comparison      = "COMPARISON_GT"
      threshold_value = var.oldest_unacked_seconds
      duration        = "120s"

      aggregations {
        alignment_period   = "60s"
        per_series_aligner = "ALIGN_MAX"
      }
    }
  }

  documentation {
    mime_type = "text/markdown"
    content   = "The service of that subscription is not running, or cannot keep up: its pods and their log; `kuznia doctor`."
  }

  depends_on = [google_pubsub_subscription.heard]
}

resource "google_monitoring_alert_policy" "doctor" {
  display_name          = "Kuznia: the doctor found something"
  combiner              = "OR"
  severity              = "ERROR"
  notification_channels = local.channels
  user_labels           = local.labels

  conditions {
    display_name = "Findings"

    condition_prometheus_query_language {
      query                     = "max by (check) (kuznia_doctor_findings) > 0"
      duration                  = "300s"
      evaluation_interval       = "60s"
      disable_metric_validation = true
    }
  }

  conditions {
    display_name = "Nobody examines"

    condition_prometheus_query_language {
      query                     = "absent(kuznia_doctor_findings)"
      duration                  = "900s"
      evaluation_interval       = "60s"
      disable_metric_validation = true
    }
  }

  documentation {
    mime_type = "text/markdown"
    content   = "`kuznia doctor` says what, where and how to mend. See docs/operating.md."
  }

  depends_on = [google_project_service.this]
}
