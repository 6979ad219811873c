{{- /* The words after `vllm`, as shared/forge/serving.py says them for the same document; the operator's own go before the gate. */ -}}
{{- define "llama-factory-api.vllm" -}}
{{- $model := .Values.model -}}
{{- $own := .Values.vllm -}}
{{- $gpus := include "llama-factory-api.gpus" . | int -}}
{{- $parts := include "llama-factory-api.parts" . | fromYaml -}}
{{- $main := default $parts.weights $parts.base -}}
{{- $words := list "serve" $main.place "--served-model-name" (ternary $model.base.id $model.id (eq $model.kind "adapter")) -}}
{{- $words = concat $words (list "--host" "0.0.0.0" "--port" "8000") -}}
{{- if eq $main.load "stream" -}}
{{- $words = concat $words (list "--load-format" "runai_streamer") -}}
{{- end -}}
{{- $dtype := default (ternary "" "float32" (gt $gpus 0)) $own.dtype -}}
{{- $sequences := default (ternary 0 8 (gt $gpus 0)) ($own.maxNumSeqs | int) -}}
{{- $shared := default $gpus ($own.tensorParallelSize | int) -}}
{{- range $pair := list (list "--revision" $main.revision) (list "--dtype" $dtype) (list "--max-num-seqs" $sequences) (list "--tensor-parallel-size" (ternary $shared 0 (gt $shared 1))) (list "--max-model-len" ($own.maxModelLen | int)) (list "--gpu-memory-utilization" $own.gpuMemoryUtilization) -}}
{{- if index $pair 1 -}}
{{- $words = concat $words (list (index $pair 0) (toString (index $pair 1))) -}}
{{- end -}}
{{- end -}}
{{- if eq $model.kind "adapter" -}}
{{- $words = concat $words (list "--enable-lora" "--max-lora-rank" (toString $own.maxLoraRank) "--max-loras" (toString $own.maxLoras)) -}}
{{- $words = concat $words (list "--lora-modules" (printf "%s=%s" $model.id $parts.weights.place)) -}}
{{- end -}}
{{- if or $own.enforceEager (eq $gpus 0) -}}
{{- $words = append $words "--enforce-eager" -}}
{{- end -}}
{{- with include "llama-factory-api.chatTemplate" . -}}
{{- $words = concat $words (list "--chat-template" (printf "%s/%s" $parts.weights.place .)) -}}
{{- end -}}
{{- $words = concat $words (list "--generation-config" "vllm" "--override-generation-config" (include "llama-factory-api.sampling" .)) -}}
{{- $drained := sub .Values.terminationGracePeriodSeconds (add .Values.drainSeconds 5) -}}
{{- $words = concat $words (list "--shutdown-timeout" (toString (max 1 $drained)) "--disable-uvicorn-access-log" "--disable-fastapi-docs") -}}
{{- $words = concat $words $own.extraArgs (list "--middleware" "kuznia_gate.Gate") -}}
{{- toYaml $words -}}
{{- end -}}

{{- /* The file of an adapter's own chat template, where it is a file that the engine sees. */ -}}
{{- define "llama-factory-api.chatTemplate" -}}
{{- $weights := (include "llama-factory-api.parts" . | fromYaml).weights -}}
{{- if and (eq .Values.engine "vllm") (eq .Values.model.kind "adapter") (ne $weights.load "hub") -}}
{{- .Values.vllm.chatTemplate -}}
{{- end -}}
{{- end -}}

{{- /* LLaMA-Factory's defaults of an answer in vLLM's words. */ -}}
{{- define "llama-factory-api.sampling" -}}
{{- if index .Values.model.generation "do_sample" -}}
{{- toJson (pick .Values.model.generation "temperature" "top_p" "top_k" "repetition_penalty") -}}
{{- else -}}
{"temperature":0.0}
{{- end -}}
{{- end -}}

{{- /* The arguments of `llamafactory-cli api`, as services/deployment/pod/engine.py writes them. */ -}}
{{- define "llama-factory-api.llamafactory" -}}
{{- $model := .Values.model -}}
{{- $gpus := include "llama-factory-api.gpus" . | int -}}
{{- $parts := include "llama-factory-api.parts" . | fromYaml -}}
{{- $main := default $parts.weights $parts.base -}}
{{- $told := dict "template" $model.template "infer_backend" "huggingface" "trust_remote_code" false "do_sample" false "max_new_tokens" 256 -}}
{{- $_ := set $told "infer_dtype" (ternary "auto" "float32" (gt $gpus 0)) -}}
{{- $_ := set $told "model_name_or_path" $main.place -}}
{{- with $main.revision -}}
{{- $_ := set $told "model_revision" . -}}
{{- end -}}
{{- if eq $model.kind "adapter" -}}
{{- $_ := set $told "adapter_name_or_path" $parts.weights.place -}}
{{- end -}}
{{- toYaml (mergeOverwrite $told $model.generation) -}}
{{- end -}}

{{- define "llama-factory-api.keyVariable" -}}
{{- ternary "VLLM_API_KEY" "API_KEY" (eq .Values.engine "vllm") -}}
{{- end -}}

{{- define "llama-factory-api.hub" -}}
{{- $found := "" -}}
{{- range $part := include "llama-factory-api.parts" . | fromYaml -}}
{{- if eq $part.load "hub" -}}
{{- $found = "yes" -}}
{{- end -}}
{{- end -}}
{{- $found -}}
{{- end -}}

{{- define "llama-factory-api.variables" -}}
{{- $hub := include "llama-factory-api.hub" . -}}
{{- /* A user without an entry in passwd has no name and no home of its own. */ -}}
{{- $plain := dict "HOME" "/tmp" "USER" "kuznia" "HF_HOME" (ternary "/models/huggingface" "/tmp/huggingface" (ne $hub "")) -}}
{{- $plain = merge $plain (dict "TORCHINDUCTOR_CACHE_DIR" "/tmp/inductor" "TRITON_CACHE_DIR" "/tmp/triton" "TOKENIZERS_PARALLELISM" "false" "DO_NOT_TRACK" "1") -}}
{{- if not $hub -}}
{{- $plain = merge $plain (dict "HF_HUB_OFFLINE" "1" "TRANSFORMERS_OFFLINE" "1") -}}
{{- end -}}
{{- with .Values.env.HF_ENDPOINT -}}
{{- $plain = merge $plain (dict "HF_ENDPOINT" .) -}}
{{- end -}}
{{- if eq .Values.engine "vllm" -}}
{{- $plain = merge $plain (dict "XDG_CACHE_HOME" "/tmp/cache" "VLLM_NO_USAGE_STATS" "1" "VLLM_CACHE_ROOT" "/tmp/vllm" "VLLM_CONFIG_ROOT" "/tmp/vllm") -}}
{{- $plain = merge $plain (dict "PYTHONPATH" "/etc/kuznia/python") -}}
{{- if .Values.vllm.hotLoad -}}
{{- $plain = merge $plain (dict "VLLM_ALLOW_RUNTIME_LORA_UPDATING" "1") -}}
{{- end -}}
{{- if eq (include "llama-factory-api.gpus" .) "0" -}}
{{- $plain = merge $plain (dict "VLLM_CPU_KVCACHE_SPACE" (toString .Values.vllm.cpuKvCacheGiB) "VLLM_CPU_OMP_THREADS_BIND" "nobind" "OMP_NUM_THREADS" (toString .Values.vllm.cpuThreads)) -}}
{{- end -}}
{{- else -}}
{{- $plain = merge $plain (dict "API_HOST" "0.0.0.0" "API_PORT" "8000" "API_MODEL_NAME" .Values.model.id "MAX_CONCURRENT" (toString .Values.llamafactory.maxConcurrent)) -}}
{{- end -}}
{{- range $name, $value := $plain }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- if .Values.apiKey.secretName }}
- name: {{ include "llama-factory-api.keyVariable" . }}
  valueFrom:
    secretKeyRef:
      name: {{ .Values.apiKey.secretName }}
      key: {{ .Values.apiKey.key }}
{{- if .Values.vllm.hotLoad }}
# What who loads adapters shows the gate, from inside this pod only.
- name: KUZNIA_GATE_SECRET
  valueFrom:
    secretKeyRef:
      name: {{ .Values.apiKey.secretName }}
      key: {{ .Values.apiKey.key }}
{{- end }}
{{- end }}
{{- if .Values.env.HF_TOKEN_SECRET_NAME }}
- name: HF_TOKEN
  valueFrom:
    secretKeyRef:
      name: {{ .Values.env.HF_TOKEN_SECRET_NAME }}
      key: {{ .Values.env.HF_TOKEN_SECRET_KEY }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- /* Ready is who names its models. A key is shown where one is asked for, which an httpGet could only do in clear. */ -}}
{{- define "llama-factory-api.asksModels" -}}
{{- if .Values.apiKey.secretName -}}
exec:
  command:
    - python3
    - -c
    - >-
      import os, urllib.request as r;
      r.urlopen(r.Request("http://127.0.0.1:8000/v1/models",
      headers={"Authorization": "Bearer " + os.environ["{{ include "llama-factory-api.keyVariable" . }}"]}), timeout=5)
{{- else -}}
httpGet:
  path: /v1/models
  port: http
{{- end -}}
{{- end -}}

{{- /* What answers who asks often: LLaMA-Factory has nothing for it. */ -}}
{{- define "llama-factory-api.healthPath" -}}
{{- ternary "/health" "/docs" (eq .Values.engine "vllm") -}}
{{- end -}}

{{- define "llama-factory-api.probes" -}}
{{- $probes := .Values.probes -}}
{{- $path := include "llama-factory-api.healthPath" . -}}
startupProbe:
  {{- include "llama-factory-api.asksModels" . | nindent 2 }}
  periodSeconds: {{ $probes.periodSeconds }}
  timeoutSeconds: {{ max 6 ($probes.timeoutSeconds | int) }}
  failureThreshold: {{ max 1 (ceil (divf $probes.startupSeconds $probes.periodSeconds) | int) }}
readinessProbe:
  httpGet:
    path: {{ $path }}
    port: http
  periodSeconds: {{ $probes.periodSeconds }}
  timeoutSeconds: {{ $probes.timeoutSeconds }}
  failureThreshold: 1
livenessProbe:
  httpGet:
    path: {{ $path }}
    port: http
  periodSeconds: {{ $probes.periodSeconds }}
  timeoutSeconds: {{ $probes.timeoutSeconds }}
  failureThreshold: {{ $probes.failureThreshold }}
{{- end -}}

{{- define "llama-factory-api.preStop" -}}
{{- if .Values.drainSeconds -}}
lifecycle:
  preStop:
    {{- if semverCompare ">=1.30.0-0" .Capabilities.KubeVersion.Version }}
    sleep:
      seconds: {{ .Values.drainSeconds }}
    {{- else }}
    exec:
      command: [sleep, {{ .Values.drainSeconds | quote }}]
    {{- end }}
{{- end -}}
{{- end -}}
