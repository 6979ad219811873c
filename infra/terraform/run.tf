# Where events are pushed: a Cloud Run service for each event service that launches nothing; nothing runs while nothing
# happens.

resource "google_service_account" "push" {
  count = var.delivery == "push" ? 1 : 0

  account_id   = "${var.name}-push"
  display_name = "Kuznia: whose token Pub/Sub carries when it pushes"

  depends_on = [google_project_service.this]
}

resource "google_service_account_iam_member" "push_signs" {
  count = var.delivery == "push" ? 1 : 0

  service_account_id = google_service_account.push[0].name
  role               = "roles/iam.serviceAccountTokenCreator"
  member             = local.pubsub_agent
}

resource "google_cloud_run_v2_service" "service" {
  for_each = local.pushed

  name                = "${var.name}-${each.key}"
  location            = var.region
  ingress             = "INGRESS_TRAFFIC_INTERNAL_ONLY" # Pub/Sub of this project counts as internal
  labels              = local.labels
  custom_audiences    = [local.push_audience]
  deletion_protection = var.deletion_protection

  template {
    service_account                  = google_service_account.part[each.key].email
    timeout                          = "600s"
    max_instance_request_concurrency = 16

    scaling {
      min_instance_count = 0
      max_instance_count = 10
    }

    containers {
      image   = var.control_image
      command = ["tini", "--", "python", "-m", "services.worker"]
      args    = ["push", each.key]

      ports {
        container_port = 8080
      }

      resources {
        limits = {
          cpu    = "1"
          memory = "1Gi"
        }
        cpu_idle          = true
        startup_cpu_boost = true
      }

      startup_probe {
        period_seconds    = 2
        failure_threshold = 30

        tcp_socket {
          port = 8080
        }
      }

      dynamic "env" {
        for_each = local.environment

        content {
          name  = env.key
          value = env.value
        }
      }

      volume_mounts {
        name       = "home"
        mount_path = "/var/lib/kuznia"
      }

      dynamic "volume_mounts" {
        for_each = local.secrets_of[each.key]

        content {
          name       = "secret-${volume_mounts.key}"
          mount_path = "/etc/kuznia/secrets/${volume_mounts.key}"
        }
      }
    }

    volumes {
      name = "home"

      empty_dir {
        medium     = "MEMORY"
        size_limit = "512Mi"
      }
    }

    # The newest version, as of when it is read: a secret is rotated without a new revision of the service.
    dynamic "volumes" {
      for_each = local.secrets_of[each.key]

      content {
        name = "secret-${volumes.key}"

        secret {
          secret = volumes.value

          items {
            path    = "value"
            version = "latest"
          }
        }
      }
    }
  }

  depends_on = [google_project_service.this, google_artifact_registry_repository_iam_member.run, google_secret_manager_secret_iam_member.part]
}

# Only Pub/Sub, by the token that it carries; and the service looks at the token once more.
resource "google_cloud_run_v2_service_iam_member" "push" {
  for_each = local.pushed

  name     = google_cloud_run_v2_service.service[each.key].name
  location = var.region
  role     = "roles/run.invoker"
  member   = google_service_account.push[0].member
}

resource "google_artifact_registry_repository_iam_member" "run" {
  count = var.delivery == "push" ? 1 : 0

  location   = google_artifact_registry_repository.images.location
  repository = google_artifact_registry_repository.images.name
  role       = "roles/artifactregistry.reader"
  member     = "serviceAccount:service-${data.google_project.this.number}@serverless-robot-prod.iam.gserviceaccount.com"
}

locals {
  environment = merge({
    KUZNIA_PROFILE            = "gcp"
    KUZNIA_HOST               = "0.0.0.0"
    KUZNIA_PORT               = "8080"
    KUZNIA_FIRESTORE_DATABASE = var.firestore_database
    KUZNIA_ARTIFACTS          = "gs://${google_storage_bucket.artifacts.name}"
    KUZNIA_PUSH_AUDIENCE      = local.push_audience
    KUZNIA_PUSH_ACCOUNT       = one(google_service_account.push[*].email)
    GOOGLE_CLOUD_PROJECT      = var.project
  }, var.environment)
}
