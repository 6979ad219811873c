# What a part may read of Secret Manager lies in its pod as /etc/kuznia/secrets/<name>/value, as of the pod's start:
# after a rotation, `kubectl rollout restart`. No value passes through Terraform, its state or the pod's description.
locals {
  mounted = merge([for part in keys(local.commands) : { for name, id in var.parts[part].secrets : name => id }]...)
}

resource "kubernetes_manifest" "secret" {
  for_each = local.mounted

  manifest = {
    apiVersion = "secrets-store.csi.x-k8s.io/v1"
    kind       = "SecretProviderClass"

    metadata = {
      name      = replace(lower(each.key), "_", "-")
      namespace = kubernetes_namespace_v1.platform.metadata[0].name
      labels    = local.labels
    }

    spec = {
      provider   = "gke"
      parameters = { secrets = yamlencode([{ resourceName = "${each.value}/versions/latest", path = "value" }]) }
    }
  }
}

# A tenant's Jobs take the hub's token from a Secret of their namespace. GKE's secret sync makes it of Secret Manager's,
# by the trainer's own rights, and renews it: no value passes through Terraform, and nothing else is to be installed.
locals {
  hubs = { for tenant, of in var.tenants : tenant => of.secrets[var.hub_secret] if contains(keys(of.secrets), var.hub_secret) }
}

resource "kubernetes_manifest" "hub" {
  for_each = local.hubs

  manifest = {
    apiVersion = "secrets-store.csi.x-k8s.io/v1"
    kind       = "SecretProviderClass"

    metadata = {
      name      = "hub"
      namespace = kubernetes_namespace_v1.tenant[each.key].metadata[0].name
      labels    = local.labels
    }

    spec = {
      provider   = "gke"
      parameters = { secrets = yamlencode([{ resourceName = "${each.value}/versions/latest", path = "value" }]) }
    }
  }
}

resource "kubernetes_manifest" "hub_sync" {
  for_each = local.hubs

  manifest = {
    apiVersion = "secret-sync.gke.io/v1"
    kind       = "SecretSync"

    metadata = {
      name      = "hub"
      namespace = kubernetes_namespace_v1.tenant[each.key].metadata[0].name
      labels    = local.labels
    }

    spec = {
      serviceAccountName      = "trainer"
      secretProviderClassName = kubernetes_manifest.hub[each.key].manifest.metadata.name

      secretObject = {
        type = "Opaque"
        data = [{ sourcePath = "value", targetKey = "token" }]
      }
    }
  }
}
