{{- /*
What the schema cannot say: values that do not go together, all at once, each with its mend.
Each helper prints faults, one a line.
*/ -}}
{{- define "llama-factory-api.check" -}}
{{- $found := list -}}
{{- range $checks := list "Model" "Weights" "Engine" "Scaling" "Doors" "Rest" -}}
{{- range $line := splitList "\n" (include (printf "llama-factory-api.faults%s" $checks) $) -}}
{{- with trim $line -}}
{{- $found = append $found . -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if $found -}}
{{- fail (printf "\n\n%d of the values cannot be used:\n  - %s\n" (len $found) (join "\n  - " $found)) -}}
{{- end -}}
{{- end -}}

{{- define "llama-factory-api.faultsModel" -}}
{{- $model := .Values.model -}}
{{- if not $model.id }}
model.id is empty: say what clients write as `model`, such as team-x/llm-qa-v1
{{- end }}
{{- if and (not $model.artifactPath) (not $model.registry.url) }}
model.artifactPath is empty: say where the weights lie (gs://…, s3://…, artifactory://…, hf://…, pvc://…), or set model.registry.url
{{- end }}
{{- if eq $model.kind "adapter" }}
{{- if not $model.base.id }}
model.base.id is empty, and model.kind is adapter: name the base model that it is loaded onto
{{- end }}
{{- else if or $model.base.id $model.base.artifactPath }}
model.base is set, and model.kind is model, which is loaded alone: set model.kind: adapter, or leave model.base empty
{{- end }}
{{- if and $model.registry.url $model.artifactPath }}
model.artifactPath and model.registry.url are both set: the registry says where the weights lie; leave one empty
{{- end }}
{{- if and $model.registry.url $model.manifestDigest }}
model.manifestDigest and model.registry.url are both set: the registry says the digest as well; leave one empty
{{- end }}
{{- if and $model.registry.url (ne $model.verify "full") }}
model.verify is {{ $model.verify }}, and model.registry.url is set: what the registry names is always checked in full
{{- end }}
{{- if and $model.registry.follow (not (and $model.registry.url (eq .Values.engine "vllm") (eq $model.kind "adapter") .Values.vllm.hotLoad)) }}
model.registry.follow needs model.registry.url, engine: vllm, model.kind: adapter and vllm.hotLoad: true: only vLLM takes another adapter while it runs
{{- end }}
{{- if and $model.registry.follow $model.version }}
model.registry.follow and model.version are both set: a pinned version is not followed; leave one out
{{- end }}
{{- end -}}

{{- define "llama-factory-api.faultsWeights" -}}
{{- $model := .Values.model -}}
{{- range $part := include "llama-factory-api.parts" . | fromYaml }}
{{- $field := ternary "model" "model.base" (eq $part.name "weights") }}
{{- $scheme := regexFind "^[a-z0-9]+" $part.path }}
{{- if $part.path }}
{{- $able := get (dict "fetch" (list "gs" "s3" "artifactory") "fuse" (list "gs") "mount" (list "pvc") "stream" (list "gs" "s3") "hub" (list "hf")) $part.load }}
{{- if not (has $scheme $able) }}
{{ $field }}.load is {{ $part.load }}, and {{ $field }}.artifactPath begins with {{ $scheme }}://: {{ $part.load }} takes {{ join ", " $able }}
{{- end }}
{{- if and $part.revision (ne $part.load "hub") }}
{{ $field }}.revision is set, and only the hub has revisions: {{ $part.path }} is not asked for one
{{- end }}
{{- if and $part.digest (eq $part.load "hub") }}
{{ $field }}.manifestDigest is set, and what the hub has carries no manifest: pin {{ $field }}.revision instead
{{- end }}
{{- else if ne $part.load "fetch" }}
{{ $field }}.load is {{ $part.load }}, and the registry says where the weights lie: leave it auto
{{- end }}
{{- if and (eq $part.name "weights") $part.path (ne $part.verify "none") (not $part.digest) }}
model.manifestDigest is empty, so nobody can say that these are the weights that were registered: give it, as the registry has it (GET /api/v1/models/<id>/versions/<version>), or set model.verify: none
{{- end }}
{{- if and (eq $part.load "stream") (eq $.Values.engine "llamafactory") }}
{{ $field }}.load is stream, and engine is llamafactory, which cannot: use fetch or fuse
{{- end }}
{{- end }}
{{- $weights := (include "llama-factory-api.parts" . | fromYaml).weights }}
{{- if and (eq $weights.load "stream") (eq $model.kind "adapter") }}
model.load is stream, and model.kind is adapter: vLLM reads adapters from files; use fetch (model.base.load may be stream)
{{- end }}
{{- if and $model.signature.configMapName (or (eq $weights.verify "none") (eq $weights.load "hub")) }}
model.signature is set, and nothing is verified: set model.verify: full (weights of the hub have no manifest that could be signed)
{{- end }}
{{- end -}}

{{- define "llama-factory-api.faultsEngine" -}}
{{- $gpus := include "llama-factory-api.gpus" . | int -}}
{{- if eq .Values.engine "llamafactory" }}
{{- if not .Values.model.template }}
model.template is empty, and engine is llamafactory, which needs the name of a chat template, such as chatml, llama3 or qwen
{{- end }}
{{- range $name := list "serviceMonitor" "podMonitor" "podMonitoring" }}
{{- if index $.Values.monitoring $name }}
monitoring.{{ $name }} is on, and engine is llamafactory, which has no metrics: turn it off, or use engine: vllm
{{- end }}
{{- end }}
{{- if .Values.vllm.hotLoad }}
vllm.hotLoad is on, and engine is llamafactory, which cannot load an adapter while it runs
{{- end }}
{{- if gt (.Values.vllm.tensorParallelSize | int) 0 }}
vllm.tensorParallelSize is set, and engine is llamafactory
{{- end }}
{{- end }}
{{- if gt (.Values.vllm.tensorParallelSize | int) (max 1 $gpus | int) }}
vllm.tensorParallelSize is {{ .Values.vllm.tensorParallelSize }}, and resources.limits has {{ $gpus }} GPUs
{{- end }}
{{- range $name, $value := .Values.resources.requests }}
{{- if and (hasSuffix "/gpu" $name) (ne (int $value) (index (default dict $.Values.resources.limits) $name | int)) }}
resources.requests and resources.limits name different numbers of {{ $name }}: GPUs cannot be shared, write the same
{{- end }}
{{- end }}
{{- if and (eq .Values.engine "vllm") (not $gpus) (not .Values.image.repository) }}
resources.limits has no GPU, and vllm/vllm-openai needs one: name an image of vLLM for CPUs (image.repository), or use engine: llamafactory
{{- end }}
{{- if and (not $gpus) .Values.gpu.accelerator }}
gpu.accelerator is set, and resources.limits has no GPU: the pod would take a GPU's node and not its GPU
{{- end }}
{{- if and .Values.vllm.hotLoad (not .Values.apiKey.secretName) }}
vllm.hotLoad is on, and apiKey.secretName is empty: the gate would let nobody load one; set a key
{{- end }}
{{- end -}}

{{- define "llama-factory-api.faultsScaling" -}}
{{- $scaling := .Values.autoscaling -}}
{{- $custom := or $scaling.requestsWaiting.enabled $scaling.kvCacheUsage.enabled -}}
{{- if $scaling.enabled }}
{{- if gt ($scaling.minReplicas | int) ($scaling.maxReplicas | int) }}
autoscaling.minReplicas is {{ $scaling.minReplicas }}, above autoscaling.maxReplicas ({{ $scaling.maxReplicas }})
{{- end }}
{{- if and $custom (eq .Values.engine "llamafactory") }}
autoscaling by requestsWaiting or kvCacheUsage reads vLLM's metrics, and engine is llamafactory, which has none: scale by targetCPUUtilizationPercentage
{{- end }}
{{- if eq $scaling.kind "keda" }}
{{- if and (or $custom $scaling.keda.wakeQuery) (not $scaling.keda.serverAddress) }}
autoscaling.keda.serverAddress is empty: say where KEDA finds Prometheus, such as http://prometheus.monitoring.svc:9090
{{- end }}
{{- if and (eq ($scaling.minReplicas | int) 0) (not $scaling.keda.wakeQuery) }}
autoscaling.minReplicas is 0, and autoscaling.keda.wakeQuery is empty: an engine that does not run has no metrics, so nothing would ever start it again; name a query of what the ingress had to refuse
{{- end }}
{{- if not (or $custom $scaling.keda.wakeQuery $scaling.targetCPUUtilizationPercentage) }}
autoscaling.kind is keda, and nothing says by what: turn on requestsWaiting or kvCacheUsage, or set keda.wakeQuery
{{- end }}
{{- else }}
{{- if eq ($scaling.minReplicas | int) 0 }}
autoscaling.minReplicas is 0, and autoscaling.kind is hpa, which keeps one pod at least: use keda
{{- end }}
{{- if $scaling.keda.wakeQuery }}
autoscaling.keda.wakeQuery is set, and autoscaling.kind is hpa
{{- end }}
{{- if not (or $custom $scaling.targetCPUUtilizationPercentage) }}
autoscaling is on, and nothing says by what: set targetCPUUtilizationPercentage, or turn on requestsWaiting or kvCacheUsage
{{- end }}
{{- end }}
{{- if and $scaling.targetCPUUtilizationPercentage (not (index (default dict .Values.resources.requests) "cpu")) }}
autoscaling.targetCPUUtilizationPercentage is set, and resources.requests has no cpu, of which it would be a percentage
{{- end }}
{{- end }}
{{- end -}}

{{- define "llama-factory-api.faultsDoors" -}}
{{- $open := list -}}
{{- if .Values.ingress.enabled }}{{ $open = append $open "ingress" }}{{ end -}}
{{- if .Values.httpRoute.enabled }}{{ $open = append $open "httpRoute" }}{{ end -}}
{{- if ne .Values.service.type "ClusterIP" }}{{ $open = append $open (printf "service.type: %s" .Values.service.type) }}{{ end -}}
{{- if and $open (not .Values.apiKey.secretName) (not .Values.apiKey.allowAnonymous) }}
{{ join " and " $open }} leads to an engine without a key: set apiKey.secretName, or apiKey.allowAnonymous: true where something before it asks for one
{{- end }}
{{- if and .Values.ingress.enabled .Values.httpRoute.enabled }}
ingress and httpRoute are both on: one of them is enough
{{- end }}
{{- if and .Values.ingress.enabled (not .Values.ingress.hosts) }}
ingress is on, and ingress.hosts is empty
{{- end }}
{{- if and .Values.httpRoute.enabled (not .Values.httpRoute.parentRefs) }}
httpRoute is on, and httpRoute.parentRefs is empty: name the Gateway that it belongs to
{{- end }}
{{- if and $open .Values.networkPolicy.enabled (not .Values.networkPolicy.controllers) (not .Values.networkPolicy.extraIngress) }}
{{ join " and " $open }} is on, and networkPolicy.controllers is empty: no request would get through; say who carries them
{{- end }}
{{- end -}}

{{- define "llama-factory-api.faultsRest" -}}
{{- if and (not .Values.serviceAccount.create) (or .Values.serviceAccount.gcpServiceAccount .Values.serviceAccount.annotations) }}
serviceAccount.create is off, and what would be written on it is set: annotate the account that exists, or turn create on
{{- end }}
{{- if ge (.Values.drainSeconds | int) (.Values.terminationGracePeriodSeconds | int) }}
drainSeconds is {{ .Values.drainSeconds }}, and terminationGracePeriodSeconds {{ .Values.terminationGracePeriodSeconds }}: no time would be left to finish answers
{{- end }}
{{- range $variable := .Values.extraEnv }}
{{- if and (hasKey $variable "value") (regexMatch "TOKEN|SECRET|PASSW|CREDENTIAL|API_?KEY|PRIVATE_?KEY" (upper $variable.name)) (ne $variable.name "TOKENIZERS_PARALLELISM") }}
extraEnv: {{ $variable.name }} has its secret in clear: use valueFrom.secretKeyRef
{{- end }}
{{- end }}
{{- range $field := list "commonLabels" "podLabels" }}
{{- range $label := keys (index $.Values $field) | sortAlpha }}
{{- if regexMatch "^(app\\.kubernetes\\.io|helm\\.sh)/" $label }}
{{ $field }}: {{ $label }} is the chart's own; leave it out
{{- end }}
{{- end }}
{{- end }}
{{- end -}}
