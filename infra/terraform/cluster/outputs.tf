output "forward" {
  description = "Brings console (8500) and gateway (8600) to this machine."
  value       = "kubectl --namespace kuznia port-forward service/kuznia 8500 8600"
}

output "shell" {
  description = "A shell beside the platform, where `kuznia` is."
  value       = "kubectl --namespace kuznia exec -it deployment/${local.keeper} -- bash"
}
