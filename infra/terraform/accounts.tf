# One account a part, and two a tenant: who trains writes weights, who answers reads them.

resource "google_service_account" "part" {
  for_each = local.parts

  account_id   = "${var.name}-${each.key}"
  display_name = "Kuznia: ${each.key}"

  depends_on = [google_project_service.this]
}

resource "google_service_account" "trainer" {
  for_each = var.tenants

  account_id   = "${local.tenant_ids[each.key]}-t"
  display_name = "Kuznia: trainers of ${each.key}"

  depends_on = [google_project_service.this]
}

resource "google_service_account" "engine" {
  for_each = var.tenants

  account_id   = "${local.tenant_ids[each.key]}-e"
  display_name = "Kuznia: engines of ${each.key}"

  depends_on = [google_project_service.this]
}

resource "google_service_account" "nodes" {
  account_id   = "${var.name}-nodes"
  display_name = "Kuznia: nodes of the cluster"

  depends_on = [google_project_service.this]
}

resource "google_project_iam_member" "nodes" {
  project = var.project
  role    = "roles/container.defaultNodeServiceAccount"
  member  = google_service_account.nodes.member
}

# In the cluster an account is taken by the Kubernetes account of its name; no key is ever made.
resource "google_service_account_iam_member" "part" {
  for_each = local.parts

  service_account_id = google_service_account.part[each.key].name
  role               = "roles/iam.workloadIdentityUser"
  member             = "serviceAccount:${google_container_cluster.this.workload_identity_config[0].workload_pool}[kuznia/${each.key}]"
}

resource "google_service_account_iam_member" "trainer" {
  for_each = var.tenants

  service_account_id = google_service_account.trainer[each.key].name
  role               = "roles/iam.workloadIdentityUser"
  member             = "serviceAccount:${google_container_cluster.this.workload_identity_config[0].workload_pool}[${each.key}/trainer]"
}

resource "google_service_account_iam_member" "engine" {
  for_each = var.tenants

  service_account_id = google_service_account.engine[each.key].name
  role               = "roles/iam.workloadIdentityUser"
  member             = "serviceAccount:${google_container_cluster.this.workload_identity_config[0].workload_pool}[${each.key}-api/engine]"
}

# What launches may find the cluster; what it may do there, infra/terraform/cluster grants by namespace.
resource "google_project_iam_member" "launches" {
  for_each = { for part, rights in local.parts : part => rights if rights.launches }

  project = var.project
  role    = "roles/container.clusterViewer"
  member  = google_service_account.part[each.key].member
}

resource "google_project_iam_member" "operators" {
  for_each = { for pair in setproduct(var.operators, ["roles/container.developer", "roles/monitoring.viewer", "roles/logging.viewer"]) : join(" ", pair) => pair }

  project = var.project
  role    = each.value[1]
  member  = each.value[0]
}
