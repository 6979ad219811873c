# What launches may do, in the namespaces of tenants and nowhere else.
locals {
  launchers = { for part, of in var.parts : part => of if of.launches }

  grants = { for pair in setproduct(keys(local.launchers), keys(local.spaces)) : join("/", pair) => {
    part    = pair[0]
    space   = pair[1]
    purpose = local.spaces[pair[1]].purpose
    email   = local.launchers[pair[0]].account
  } }
}

resource "kubernetes_role_v1" "launch" {
  for_each = local.spaces

  metadata {
    name      = "launch"
    namespace = kubernetes_namespace_v1.tenant[each.key].metadata[0].name
    labels    = local.labels
  }

  rule {
    api_groups = [""]
    resources  = ["pods", "pods/log", "events"]
    verbs      = ["get", "list", "watch"]
  }

  rule {
    api_groups = [""]
    resources  = each.value.purpose == "training" ? ["configmaps"] : ["configmaps", "services", "secrets"]
    verbs      = ["get", "list", "watch", "create", "update", "patch", "delete"]
  }

  rule {
    api_groups = each.value.purpose == "training" ? ["batch", "jobset.x-k8s.io", "argoproj.io", "networking.k8s.io"] : ["apps", "autoscaling", "networking.k8s.io", "policy"]
    resources  = each.value.purpose == "training" ? ["jobs", "jobsets", "workflows", "networkpolicies"] : ["deployments", "horizontalpodautoscalers", "ingresses", "networkpolicies", "poddisruptionbudgets"]
    verbs      = ["get", "list", "watch", "create", "update", "patch", "delete"]
  }
}

# In the cluster a part is its Kubernetes account; on Cloud Run it is its Google account.
resource "kubernetes_role_binding_v1" "launch" {
  for_each = local.grants

  metadata {
    name      = "launch-${each.value.part}"
    namespace = kubernetes_namespace_v1.tenant[each.value.space].metadata[0].name
    labels    = local.labels
  }

  role_ref {
    api_group = "rbac.authorization.k8s.io"
    kind      = "Role"
    name      = kubernetes_role_v1.launch[each.value.space].metadata[0].name
  }

  subject {
    kind      = "ServiceAccount"
    name      = each.value.part
    namespace = kubernetes_namespace_v1.platform.metadata[0].name
  }

  subject {
    api_group = "rbac.authorization.k8s.io"
    kind      = "User"
    name      = each.value.email
  }
}

# Nothing comes in, unless the platform's gateway calls an engine, or the metrics are read.
resource "kubernetes_network_policy_v1" "tenant" {
  for_each = local.spaces

  metadata {
    name      = "tenant"
    namespace = kubernetes_namespace_v1.tenant[each.key].metadata[0].name
    labels    = local.labels
  }

  spec {
    policy_types = ["Ingress", "Egress"]

    pod_selector {}

    dynamic "ingress" {
      for_each = each.value.purpose == "inference" ? ["kuznia", "gmp-system"] : []

      content {
        from {
          namespace_selector {
            match_labels = { "kubernetes.io/metadata.name" = ingress.value }
          }
        }
      }
    }

    # Pods of one training speak to each other.
    dynamic "ingress" {
      for_each = each.value.purpose == "training" ? ["peers"] : []

      content {
        from {
          pod_selector {}
        }
      }
    }

    dynamic "egress" {
      for_each = each.value.purpose == "training" ? ["peers"] : []

      content {
        to {
          pod_selector {}
        }
      }
    }

    egress {
      to {
        namespace_selector {
          match_labels = { "kubernetes.io/metadata.name" = "kube-system" }
        }
      }

      ports {
        port     = "53"
        protocol = "UDP"
      }

      ports {
        port     = "53"
        protocol = "TCP"
      }
    }

    # The metadata server, by which a pod gets its Google identity.
    egress {
      to {
        ip_block {
          cidr = "169.254.0.0/16"
        }
      }

      ports {
        port     = "80"
        protocol = "TCP"
      }

      ports {
        port     = "987"
        protocol = "TCP"
      }

      ports {
        port     = "988"
        protocol = "TCP"
      }

      ports {
        port     = "53"
        protocol = "UDP"
      }
    }

    # Outside: Google, forges and model hubs by HTTPS; never another tenant, nor a node.
    egress {
      to {
        ip_block {
          cidr   = "0.0.0.0/0"
          except = ["10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "240.0.0.0/4"]
        }
      }

      ports {
        port     = "443"
        protocol = "TCP"
      }
    }
  }
}
