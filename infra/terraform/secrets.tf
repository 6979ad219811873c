# Made empty: a value is added by hand (`gcloud secrets versions add`), so that no state and no plan ever holds it.
resource "google_secret_manager_secret" "this" {
  for_each = local.secrets

  secret_id           = "${var.name}-${each.key}"
  labels              = local.labels
  version_destroy_ttl = "604800s"

  replication {
    user_managed {
      replicas {
        location = var.region
      }
    }
  }

  depends_on = [google_project_service.this]
}

resource "google_secret_manager_secret_iam_member" "part" {
  for_each = merge([for name, secret in local.secrets : { for part in secret.parts : "${name}/${part}" => {
    name = name
    part = part
  } }]...)

  secret_id = google_secret_manager_secret.this[each.value.name].id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.part[each.value.part].member
}

resource "google_secret_manager_secret_iam_member" "tenant" {
  for_each = merge([for name, secret in local.secrets : { for tenant in secret.tenants : "${name}/${tenant}" => {
    name   = name
    tenant = tenant
  } }]...)

  secret_id = google_secret_manager_secret.this[each.value.name].id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.trainer[each.value.tenant].member
}
