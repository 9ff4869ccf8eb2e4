{{/* A duration of the configuration, such as 500ms or 1m, in whole seconds, rounded up. */}}
{{- define "theatre.seconds" -}}
{{- $number := regexFind "^[0-9.]+" . | float64 -}}
{{- $unit := regexReplaceAll "^[0-9. ]+" . "" -}}
{{- $seconds := dict "us" 0.000001 "ms" 0.001 "s" 1.0 "m" 60.0 "min" 60.0 "h" 3600.0 "d" 86400.0 -}}
{{- mulf $number (get $seconds $unit) | ceil | int64 -}}
{{- end -}}

{{/* The longest that one checkpoint may take: then the server gives its statement up. */}}
{{- define "theatre.checkpointSeconds" -}}
{{- include "theatre.seconds" (dig "store" "statement_timeout" "30s" .Values.config) -}}
{{- end -}}

{{/* Seconds that a stop of the pipeline may take. */}}
{{- define "theatre.pipelineStopSeconds" -}}
{{- with .Values.pipeline -}}
{{- add .preStopSeconds .drainSeconds (include "theatre.checkpointSeconds" $) -}}
{{- end -}}
{{- end -}}

{{- define "theatre.pipelineGraceSeconds" -}}
{{- $grace := .Values.pipeline.terminationGracePeriodSeconds -}}
{{- ternary (add (include "theatre.pipelineStopSeconds" .) 15) $grace (kindIs "invalid" $grace) -}}
{{- end -}}

{{- define "theatre.apiStopSeconds" -}}
{{- add .Values.api.preStopSeconds .Values.api.drainSeconds -}}
{{- end -}}

{{- define "theatre.apiGraceSeconds" -}}
{{- $grace := .Values.api.terminationGracePeriodSeconds -}}
{{- ternary (add (include "theatre.apiStopSeconds" .) 5) $grace (kindIs "invalid" $grace) -}}
{{- end -}}

{{/* Whether the values name a log on Kafka, a store on PostgreSQL, a warehouse of its own. */}}
{{- define "theatre.hasKafka" -}}
{{- if dig "log" "url" "" .Values.config }}true{{ end -}}
{{- end -}}
{{- define "theatre.hasPostgres" -}}
{{- $secret := .Values.secrets.store -}}
{{- $inSecret := and $secret.existingSecret $secret.urlKey -}}
{{- if or (dig "store" "url" "" .Values.config) $inSecret }}true{{ end -}}
{{- end -}}
{{- define "theatre.hasLake" -}}
{{- if dig "lake" "enabled" true .Values.config }}true{{ end -}}
{{- end -}}
{{- define "theatre.hasWarehouse" -}}
{{- $enabled := dig "warehouse" "enabled" true .Values.config -}}
{{- if and (include "theatre.hasLake" .) $enabled }}true{{ end -}}
{{- end -}}

{{/* What a pod keeps in its own data directory. */}}
{{- define "theatre.embedded" -}}
{{- $config := .Values.config -}}
{{- $parts := list -}}
{{- if not (include "theatre.hasKafka" .) }}{{ $parts = append $parts "log" }}{{ end -}}
{{- if not (include "theatre.hasPostgres" .) }}{{ $parts = append $parts "store" }}{{ end -}}
{{- if and (include "theatre.hasLake" .) (not (dig "lake" "url" "" $config)) -}}
{{- $parts = append $parts "lake" -}}
{{- end -}}
{{- if and (include "theatre.hasWarehouse" .) (not (dig "warehouse" "url" "" $config)) -}}
{{- $parts = append $parts "warehouse" -}}
{{- end -}}
{{- join ", " $parts -}}
{{- end -}}

{{- define "theatre.partitions" -}}
{{- dig "partitions" 4 .Values.config | int -}}
{{- end -}}

{{- define "theatre.kedaMaxReplicas" -}}
{{- $most := .Values.keda.maxReplicas -}}
{{- ternary (include "theatre.partitions" .) $most (kindIs "invalid" $most) -}}
{{- end -}}

{{/*
Refuses values that cannot work, and says what to do. values.schema.json says what a schema can say.
*/}}
{{- define "theatre.validate" -}}
{{- $hasApi := eq (index .Chart.Annotations "theatre/has-api-command") "true" -}}
{{- if and .Values.api.enabled (not $hasApi) -}}
{{- fail (printf (print
      "api.enabled: Theatre %s has no command `api`, so its pods could not start; "
      "leave it false") .Chart.AppVersion) -}}
{{- end -}}
{{- include "theatre.validate.times" . -}}
{{- include "theatre.validate.memory" . -}}
{{- include "theatre.validate.apiMemory" . -}}
{{- include "theatre.validate.plainSecrets" . -}}
{{- include "theatre.validate.secrets" . -}}
{{- include "theatre.validate.embedded" . -}}
{{- include "theatre.validate.keda" . -}}
{{- include "theatre.validate.image" . -}}
{{- end -}}

{{- define "theatre.validate.image" -}}
{{- if not (or .Values.image.repository (index .Chart.Annotations "theatre/image")) -}}
{{- fail (print
      "image.repository: this chart is not of a release, so it knows no image; name the one that "
      "you have built and pushed (docker build --tag REGISTRY/theatre .)") -}}
{{- end -}}
{{- end -}}

{{- define "theatre.validate.times" -}}
{{- $stop := include "theatre.pipelineStopSeconds" . | int -}}
{{- $grace := include "theatre.pipelineGraceSeconds" . | int -}}
{{- if le $grace $stop -}}
{{- fail (printf (print
      "pipeline.terminationGracePeriodSeconds: %d is not longer than a stop may take, %d seconds "
      "(preStopSeconds + drainSeconds + config.store.statement_timeout): a pod would be killed "
      "while it saves; leave it empty, or give more") $grace $stop) -}}
{{- end -}}
{{- if le (include "theatre.apiGraceSeconds" . | int) (include "theatre.apiStopSeconds" . | int) -}}
{{- fail (print
      "api.terminationGracePeriodSeconds: it must be longer than api.preStopSeconds + "
      "api.drainSeconds; leave it empty, or give more") -}}
{{- end -}}
{{- end -}}

{{- define "theatre.validate.memory" -}}
{{- $values := .Values -}}
{{- range $name := list "pipeline" "api" "jobs" "reconcile" -}}
{{- $resources := (get $values $name).resources -}}
{{- $requested := dig "requests" "memory" "" $resources | toString -}}
{{- if ne $requested (dig "limits" "memory" "" $resources | toString) -}}
{{- fail (printf "%s.resources: limits.memory must be requests.memory" $name) -}}
{{- end -}}
{{- end -}}
{{- $run := $values.jobs.run.resources -}}
{{- if ne (dig "requests" "memory" "" $run | toString) (dig "limits" "memory" "" $run | toString) -}}
{{- fail "jobs.run.resources: limits.memory must be requests.memory" -}}
{{- end -}}
{{- end -}}

{{/*
Refuses an API whose memory the bodies of records alone could use up. Only plain quantities are
compared.
*/}}
{{- define "theatre.validate.apiMemory" -}}
{{- $limit := dig "limits" "memory" "" .Values.api.resources | toString -}}
{{- if and .Values.api.enabled (regexMatch "^[0-9]+[MG]i$" $limit) -}}
{{- $unit := ternary 1024 1 (hasSuffix "Gi" $limit) -}}
{{- $has := mul (regexFind "^[0-9]+" $limit | int64) $unit -}}
{{- $bodies := dig "api" "ingests" 4 .Values.config | int64 -}}
{{- $bytes := dig "api" "body_bytes" 16777216 .Values.config | int64 -}}
{{- $needed := add 128 (div (mul 4 $bodies $bytes) 1048576) -}}
{{- if lt $has $needed -}}
{{- fail (printf (print
      "api.resources: with %s of memory a pod would be killed when many send at once; bodies of "
      "records may take %dMi (4 x config.api.ingests x config.api.body_bytes, and 128Mi for "
      "everything else): give it more, or let it take fewer or smaller bodies") $limit $needed) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Secrets in what becomes a ConfigMap. */}}
{{- define "theatre.validate.plainSecrets" -}}
{{- range $section, $keys := .Values.config -}}
{{- range $key, $value := ternary $keys dict (kindIs "map" $keys) -}}
{{- if and (kindIs "string" $value) (regexMatch "://[^/@]*:[^/@]*@" $value) -}}
{{- fail (printf (print
      "config.%s.%s: it holds a password, which would stand in a ConfigMap; keep it in a Secret "
      "and name that in `secrets`") $section $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $name, $_ := dig "log" "properties" dict .Values.config -}}
{{- if regexMatch "(?i)(password|secret|jaas|\\.key\\.pem|keystore\\.key)" $name -}}
{{- fail (printf (print
      "config.log.properties: %s is a secret, which would stand in a ConfigMap; keep it in a "
      "Secret and name that in `secrets.kafka`") $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Secrets of which nothing is used, and keys of none. */}}
{{- define "theatre.validate.secrets" -}}
{{- $secrets := .Values.secrets -}}
{{- range $name := list "store" "kafka" "registry" -}}
{{- $secret := get $secrets $name -}}
{{- $keys := omit $secret "existingSecret" | keys | sortAlpha -}}
{{- $named := list -}}
{{- range $keys -}}{{- if get $secret . -}}{{- $named = append $named . -}}{{- end -}}{{- end -}}
{{- if and $secret.existingSecret (not $named) -}}
{{- fail (printf (print
      "secrets.%s: existingSecret names a Secret, but none of its keys is named: %s")
      $name (join ", " $keys)) -}}
{{- end -}}
{{- if and $named (not $secret.existingSecret) -}}
{{- fail (printf
      "secrets.%s: %s is set, but existingSecret names no Secret" $name (first $named)) -}}
{{- end -}}
{{- end -}}
{{- $config := .Values.config -}}
{{- $endpoint := or (dig "lake" "endpoint" "" $config) (dig "warehouse" "endpoint" "" $config) -}}
{{- if and $secrets.objectStore.existingSecret (not $endpoint) -}}
{{- fail (print
      "secrets.objectStore: static keys are for an object store or a warehouse with an endpoint of "
      "its own (config.lake.endpoint, config.warehouse.endpoint); on AWS use EKS Pod Identity, or "
      "serviceAccount.annotations for IRSA") -}}
{{- end -}}
{{- if and (include "theatre.hasKafka" .) (not $secrets.pseudonymKey.existingSecret) -}}
{{- fail (print
      "secrets.pseudonymKey.existingSecret: with a log on Kafka all pods need one key; make it "
      "with: head -c 32 /dev/urandom > pseudonym.key && "
      "kubectl create secret generic theatre-pseudonym --from-file=pseudonym.key") -}}
{{- end -}}
{{- if and (dig "store" "url" "" $config) $secrets.store.urlKey -}}
{{- fail "config.store.url and secrets.store.urlKey are both set; leave one of them out" -}}
{{- end -}}
{{- end -}}

{{- define "theatre.validate.embedded" -}}
{{- with include "theatre.embedded" . -}}
{{- if or (gt (int $.Values.pipeline.replicas) 1) $.Values.keda.enabled -}}
{{- fail (printf (print
      "pipeline.replicas: %s would be in the data directory of each pod, so there can be one "
      "replica only; give their URLs in `config` (config.lake.enabled=false turns lake and "
      "warehouse off), or set pipeline.replicas=1 without keda") .) -}}
{{- end -}}
{{- if not $.Values.pipeline.persistence.enabled -}}
{{- fail (printf (print
      "pipeline.persistence.enabled: %s would be lost with the pod; give their URLs in `config`, "
      "or set pipeline.persistence.enabled=true") .) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "theatre.validate.keda" -}}
{{- with .Values.keda -}}
{{- if .enabled -}}
{{- if not .prometheusAddress -}}
{{- fail "keda.prometheusAddress: it is needed with keda.enabled" -}}
{{- end -}}
{{- if and .awsRegion (not .authenticationRef) -}}
{{- fail "keda.authenticationRef: it is needed with keda.awsRegion, to sign queries" -}}
{{- end -}}
{{- $most := include "theatre.kedaMaxReplicas" $ | int -}}
{{- $partitions := include "theatre.partitions" $ | int -}}
{{- if gt $most $partitions -}}
{{- fail (printf "keda.maxReplicas: %d pods cannot share %d partitions" $most $partitions) -}}
{{- end -}}
{{- if gt (int .minReplicas) $most -}}
{{- fail (printf
      "keda.minReplicas: %d is more than keda.maxReplicas, %d" (int .minReplicas) $most) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
