{{- /*
What the schema cannot say: values that do not go together, all at once, each with its mend.
*/ -}}
{{- define "kuznia.check" -}}
{{- $found := list -}}
{{- range $line := splitList "\n" (include "kuznia.faults" .) -}}
{{- with trim $line -}}
{{- $found = append $found . -}}
{{- end -}}
{{- end -}}
{{- if $found -}}
{{- fail (printf "\n\n%d of the values cannot be used:\n  - %s\n" (len $found) (join "\n  - " $found)) -}}
{{- end -}}
{{- end -}}

{{- define "kuznia.faults" -}}
{{- $values := .Values -}}
{{- if not $values.google.project }}
google.project is empty: the id of the Google Cloud project
{{- end }}
{{- if not $values.google.artifacts }}
google.artifacts is empty: output `artifacts` of infra/terraform, gs://…
{{- end }}
{{- if not $values.training.image }}
training.image is empty: the trainer image that Jobs run in, by digest
{{- end }}
{{- if and (eq $values.serving.releases "plain") (not $values.serving.image) }}
serving.image is empty, and serving.releases is plain: the engine image that Deployments run in
{{- end }}
{{- if and (eq $values.serving.releases "gitops") (not $values.serving.gitops.repository) }}
serving.gitops.repository is empty, and serving.releases is gitops: the repository that releases are committed to
{{- end }}
{{- if and (eq $values.serving.releases "plain") $values.serving.values }}
serving.values is set, and serving.releases is plain, which has no chart: take helm or gitops, or leave it empty
{{- end }}
{{- if and (eq $values.delivery "push") (eq $values.layout "together") }}
delivery is push, and layout is together: what is pushed to is a worker; set layout: apart, or delivery: pull
{{- end }}
{{- if and (eq $values.delivery "push") (not (and $values.push.audience $values.push.account)) }}
push.audience and push.account must both be set, and delivery is push: whose tokens the workers take
{{- end }}
{{- if and $values.ingress.enabled $values.httpRoute.enabled }}
ingress and httpRoute are both enabled: one of them is enough
{{- end }}
{{- if and $values.httpRoute.enabled (not $values.httpRoute.parentRefs) }}
httpRoute.parentRefs is empty, and httpRoute is enabled: the Gateways that the routes belong to
{{- end }}
{{- with $values.gateway.autoscaling }}
{{- if and .enabled (gt (int .minReplicas) (int .maxReplicas)) }}
gateway.autoscaling.minReplicas is {{ .minReplicas }}, above maxReplicas, which is {{ .maxReplicas }}
{{- end }}
{{- end }}
{{- $workers := include "kuznia.workers" . | fromYaml }}
{{- range $name := keys $values.workers | sortAlpha }}
{{- if not (hasKey $workers $name) }}
workers.{{ $name }}: {{ if $workers }}no service is called that; there are {{ keys $workers | sortAlpha | join ", " }}{{ else }}layout is together, which has no workers{{ end }}
{{- end }}
{{- end }}
{{- range $tenant := keys $values.tenants | sortAlpha }}
{{- if not (regexMatch "^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$" $tenant) }}
tenants.{{ $tenant }}: a tenant has 1 to 40 small letters, digits and hyphens, begins with a letter and does not end with a hyphen
{{- end }}
{{- if has $.Release.Namespace (list $tenant (printf "%s-api" $tenant)) }}
tenants.{{ $tenant }}: its namespaces would be the platform's own, {{ $.Release.Namespace }}
{{- end }}
{{- if or (eq $tenant "default") (regexMatch "^(kube|gke|gmp)-" $tenant) }}
tenants.{{ $tenant }}: that is a namespace of others
{{- end }}
{{- if hasKey $values.tenants (printf "%s-api" $tenant) }}
tenants.{{ $tenant }}-api: of tenants a and a-api the namespaces would collide, as a-api is where models of a answer
{{- end }}
{{- end }}
{{- range $name := keys $values.config | sortAlpha }}
{{- if hasKey (include "kuznia.variables" $ | fromYaml) $name }}
config.{{ $name }}: the chart sets it by a value of its own
{{- else if regexMatch "TOKEN|SECRET|PASSW|CREDENTIAL|API_?KEY|PRIVATE_?KEY" $name }}
config.{{ $name }}: that looks like a secret, and would lie in a ConfigMap; put it into a Secret, and name that in homeSecrets
{{- else if not (regexMatch "^[A-Z][A-Z0-9_]*$" $name) }}
config.{{ $name }}: no variable is called that; capitals, digits and underscores
{{- end }}
{{- end }}
{{- end -}}
