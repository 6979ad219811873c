# kuznia: the platform. <tenant>: where a tenant trains. <tenant>-api: where its models answer.
locals {
  labels = { "app.kubernetes.io/part-of" = "kuznia", "app.kubernetes.io/managed-by" = "terraform" }

  # No root, no privileges, no host: whatever a chart asks for.
  guarded = {
    "pod-security.kubernetes.io/enforce" = "restricted"
    "pod-security.kubernetes.io/warn"    = "restricted"
  }

  default_quota = { cpu = "16", memory = "64Gi", gpus = 2, pods = 50 }

  spaces = merge(
    { for tenant, of in var.tenants : tenant => { tenant = tenant, purpose = "training", account = "trainer", email = of.trainer } },
    { for tenant, of in var.tenants : "${tenant}-api" => { tenant = tenant, purpose = "inference", account = "engine", email = of.engine } },
  )
}

resource "kubernetes_namespace_v1" "platform" {
  metadata {
    name   = "kuznia"
    labels = merge(local.labels, local.guarded)
  }
}

resource "kubernetes_namespace_v1" "tenant" {
  for_each = local.spaces

  metadata {
    name   = each.key
    labels = merge(local.labels, local.guarded, { "kuznia.dev/tenant" = each.value.tenant, "kuznia.dev/purpose" = each.value.purpose })
  }
}

# Each takes the Google account of its own; no token of Kubernetes is put into a pod that asks nothing of it.
resource "kubernetes_service_account_v1" "part" {
  for_each = var.parts

  automount_service_account_token = false

  metadata {
    name        = each.key
    namespace   = kubernetes_namespace_v1.platform.metadata[0].name
    labels      = local.labels
    annotations = { "iam.gke.io/gcp-service-account" = each.value.account }
  }
}

resource "kubernetes_service_account_v1" "tenant" {
  for_each = local.spaces

  automount_service_account_token = false

  metadata {
    name        = each.value.account
    namespace   = kubernetes_namespace_v1.tenant[each.key].metadata[0].name
    labels      = local.labels
    annotations = { "iam.gke.io/gcp-service-account" = each.value.email }
  }
}

resource "kubernetes_resource_quota_v1" "tenant" {
  for_each = local.spaces

  metadata {
    name      = "tenant"
    namespace = kubernetes_namespace_v1.tenant[each.key].metadata[0].name
    labels    = local.labels
  }

  spec {
    hard = {
      "requests.cpu"            = lookup(var.quotas, each.value.tenant, local.default_quota).cpu
      "requests.memory"         = lookup(var.quotas, each.value.tenant, local.default_quota).memory
      "requests.nvidia.com/gpu" = tostring(lookup(var.quotas, each.value.tenant, local.default_quota).gpus)
      "pods"                    = tostring(lookup(var.quotas, each.value.tenant, local.default_quota).pods)
    }
  }
}

# The quota refuses a pod that does not say what it asks for; this says it for those.
resource "kubernetes_limit_range_v1" "tenant" {
  for_each = local.spaces

  metadata {
    name      = "defaults"
    namespace = kubernetes_namespace_v1.tenant[each.key].metadata[0].name
    labels    = local.labels
  }

  spec {
    limit {
      type            = "Container"
      default_request = { cpu = "100m", memory = "256Mi" }
      default         = { memory = "1Gi" }
    }
  }
}
