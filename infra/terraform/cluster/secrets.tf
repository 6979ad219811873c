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
