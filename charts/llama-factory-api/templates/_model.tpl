{{- /* How many of any maker the engine has. */ -}}
{{- define "llama-factory-api.gpus" -}}
{{- $count := 0 -}}
{{- range $name, $value := .Values.resources.limits -}}
{{- if hasSuffix "/gpu" $name -}}
{{- $count = add $count (int $value) -}}
{{- end -}}
{{- end -}}
{{- $count -}}
{{- end -}}

{{- define "llama-factory-api.loader" -}}
{{- $scheme := regexFind "^[a-z0-9]+" .path -}}
{{- if ne .load "auto" -}}
{{- .load -}}
{{- else -}}
{{- get (dict "gs" "fetch" "s3" "fetch" "artifactory" "fetch" "pvc" "mount" "hf" "hub") $scheme | default "fetch" -}}
{{- end -}}
{{- end -}}

{{- /* What the engine is told to load. */ -}}
{{- define "llama-factory-api.place" -}}
{{- if eq .load "fetch" -}}
/models/{{ .name }}
{{- else if eq .load "hub" -}}
{{ trimPrefix "hf://" .path }}
{{- else if eq .load "stream" -}}
{{ .path }}
{{- else -}}
/mnt/{{ .name }}
{{- end -}}
{{- end -}}

{{- /*
The parts that are loaded, as a YAML map: weights, and base where they are an adapter.
Each has path, load (never auto), place (what the engine is told), verify, digest, revision.
*/ -}}
{{- define "llama-factory-api.parts" -}}
{{- $model := .Values.model -}}
{{- $load := include "llama-factory-api.loader" (dict "path" $model.artifactPath "load" $model.load) -}}
{{- $verify := ternary "none" $model.verify (eq $load "hub") -}}
{{- if eq $load "stream" -}}
{{- $verify = ternary "none" "manifest" (eq $verify "none") -}}
{{- end -}}
{{- $parts := dict "weights" (dict "name" "weights" "path" $model.artifactPath "load" $load "verify" $verify "digest" $model.manifestDigest "revision" $model.revision) -}}
{{- if eq $model.kind "adapter" -}}
{{- $base := $model.base -}}
{{- $path := default (printf "hf://%s" $base.id) $base.artifactPath -}}
{{- $from := include "llama-factory-api.loader" (dict "path" $path "load" $base.load) -}}
{{- $checked := ternary "full" "none" (and (ne $base.manifestDigest "") (ne $from "hub")) -}}
{{- $_ := set $parts "base" (dict "name" "base" "path" $path "load" $from "verify" $checked "digest" $base.manifestDigest "revision" $base.revision) -}}
{{- end -}}
{{- range $part := $parts -}}
{{- $_ := set $part "place" (include "llama-factory-api.place" $part) -}}
{{- end -}}
{{- toYaml $parts -}}
{{- end -}}

{{- /* What the init container is told: services/deployment/pod/fetch.py. A part that is only looked at has no folder. */ -}}
{{- define "llama-factory-api.fetch" -}}
{{- $model := .Values.model -}}
{{- $told := list -}}
{{- range $part := include "llama-factory-api.parts" . | fromYaml -}}
{{- if eq $part.load "fetch" -}}
{{- $told = append $told (dict "name" $part.name "url" $part.path "folder" $part.place "verify" $part.verify "manifest_digest" $part.digest) -}}
{{- else if and (ne $part.load "hub") (ne $part.verify "none") -}}
{{- $url := ternary $part.path (printf "file://%s" $part.place) (eq $part.load "stream") -}}
{{- $told = append $told (dict "name" $part.name "url" $url "folder" "" "verify" $part.verify "manifest_digest" $part.digest) -}}
{{- end -}}
{{- end -}}
{{- if $told -}}
{{- $asked := dict "parts" $told "kind" $model.kind "base_model" (ternary $model.base.id "" (eq $model.kind "adapter")) -}}
{{- if eq .Values.engine "vllm" -}}
{{- $_ := set $asked "chat_template" (include "llama-factory-api.chatTemplate" .) -}}
{{- $_ := set $asked "max_rank" (.Values.vllm.maxLoraRank | int) -}}
{{- end -}}
{{- if $model.registry.url -}}
{{- $_ := set $asked "registry" (dict "url" $model.registry.url "model_id" (include "llama-factory-api.modelId" .) "version" $model.version) -}}
{{- end -}}
{{- if $model.registry.follow -}}
{{- $_ := set $asked "follow" (dict "engine" "http://127.0.0.1:8000" "name" $model.id "seconds" $model.registry.seconds) -}}
{{- end -}}
{{- if $model.signature.configMapName -}}
{{- $_ := set $asked "public_key" (printf "/etc/kuznia/keys/%s" $model.signature.key) -}}
{{- $_ := set $asked "signature" $model.signature.file -}}
{{- end -}}
{{- toPrettyJson $asked -}}
{{- end -}}
{{- end -}}
