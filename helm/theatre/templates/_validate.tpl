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
{{- if or (dig "store" "url" "" .Values.config) (and $secret.existingSecret $secret.urlKey) }}true{{ end -}}
{{- end -}}
{{- define "theatre.hasLake" -}}
{{- if dig "lake" "enabled" true .Values.config }}true{{ end -}}
{{- end -}}
{{- define "theatre.hasWarehouse" -}}
{{- if and (include "theatre.hasLake" .) (dig "warehouse" "enabled" true .Values.config) }}true{{ end -}}
{{- end -}}

{{/* What a pod keeps in its own data directory. */}}
{{- define "theatre.embedded" -}}
{{- $parts := list -}}
{{- if not (include "theatre.hasKafka" .) }}{{ $parts = append $parts "log" }}{{ end -}}
{{- if not (include "theatre.hasPostgres" .) }}{{ $parts = append $parts "store" }}{{ end -}}
{{- if and (include "theatre.hasLake" .) (not (dig "lake" "url" "" .Values.config)) }}{{ $parts = append $parts "lake" }}{{ end -}}
{{- if and (include "theatre.hasWarehouse" .) (not (dig "warehouse" "url" "" .Values.config)) }}{{ $parts = append $parts "warehouse" }}{{ end -}}
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
Refuses values that cannot work, with what to do. What a schema can say, values.schema.json says.
*/}}
{{- define "theatre.validate" -}}
{{- $values := .Values -}}
{{- $config := .Values.config -}}

{{- if and $values.api.enabled (ne (index .Chart.Annotations "theatre/has-api-command") "true") -}}
{{- fail (printf "api.enabled: Theatre %s has no command `api`, so its pods could not start; leave it false" .Chart.AppVersion) -}}
{{- end -}}

{{- $stop := include "theatre.pipelineStopSeconds" . | int -}}
{{- if le (include "theatre.pipelineGraceSeconds" . | int) $stop -}}
{{- fail (printf "pipeline.terminationGracePeriodSeconds: %d is not longer than a stop may take, %d seconds (preStopSeconds + drainSeconds + config.store.statement_timeout): a pod would be killed while it saves; leave it empty, or give more" (int $values.pipeline.terminationGracePeriodSeconds) $stop) -}}
{{- end -}}
{{- if le (include "theatre.apiGraceSeconds" . | int) (include "theatre.apiStopSeconds" . | int) -}}
{{- fail "api.terminationGracePeriodSeconds: it must be longer than api.preStopSeconds + api.drainSeconds; leave it empty, or give more" -}}
{{- end -}}

{{- range $name := list "pipeline" "api" "jobs" "reconcile" -}}
{{- $resources := (get $values $name).resources -}}
{{- if ne (dig "requests" "memory" "" $resources | toString) (dig "limits" "memory" "" $resources | toString) -}}
{{- fail (printf "%s.resources: limits.memory must be requests.memory" $name) -}}
{{- end -}}
{{- end -}}

{{- range $section, $keys := $config -}}
{{- if kindIs "map" $keys -}}
{{- range $key, $value := $keys -}}
{{- if and (kindIs "string" $value) (regexMatch "://[^/@]*:[^/@]*@" $value) -}}
{{- fail (printf "config.%s.%s: it holds a password, which would stand in a ConfigMap; keep it in a Secret and name that in `secrets`" $section $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $name, $_ := dig "log" "properties" dict $config -}}
{{- if regexMatch "(?i)(password|secret|jaas|\\.key\\.pem|keystore\\.key)" $name -}}
{{- fail (printf "config.log.properties: %s is a secret, which would stand in a ConfigMap; keep it in a Secret and name that in `secrets.kafka`" $name) -}}
{{- end -}}
{{- end -}}

{{- range $name, $keys := dict "store" (list "urlKey" "passwordKey" "caKey") "kafka" (list "passwordKey" "certificateKey" "privateKeyKey" "privateKeyPasswordKey" "caKey") "registry" (list "passwordKey" "caKey") -}}
{{- $secret := get $values.secrets $name -}}
{{- $named := list -}}
{{- range $keys -}}{{- if get $secret . -}}{{- $named = append $named . -}}{{- end -}}{{- end -}}
{{- if and $secret.existingSecret (not $named) -}}
{{- fail (printf "secrets.%s: existingSecret names a Secret, but none of its keys is named: %s" $name (join ", " $keys)) -}}
{{- end -}}
{{- if and $named (not $secret.existingSecret) -}}
{{- fail (printf "secrets.%s: %s is set, but existingSecret names no Secret" $name (first $named)) -}}
{{- end -}}
{{- end -}}
{{- if and $values.secrets.objectStore.existingSecret (not (or (dig "lake" "endpoint" "" $config) (dig "warehouse" "endpoint" "" $config))) -}}
{{- fail "secrets.objectStore: static keys are for an object store or a warehouse with an endpoint of its own (config.lake.endpoint, config.warehouse.endpoint); on AWS use EKS Pod Identity or serviceAccount.annotations for IRSA" -}}
{{- end -}}

{{- if and (include "theatre.hasKafka" .) (not $values.secrets.pseudonymKey.existingSecret) -}}
{{- fail "secrets.pseudonymKey.existingSecret: with a log on Kafka all pods need one key; make it with: head -c 32 /dev/urandom > pseudonym.key && kubectl create secret generic theatre-pseudonym --from-file=pseudonym.key" -}}
{{- end -}}
{{- if and (dig "store" "url" "" $config) $values.secrets.store.urlKey -}}
{{- fail "config.store.url and secrets.store.urlKey are both set; leave one of them out" -}}
{{- end -}}

{{- $embedded := include "theatre.embedded" . -}}
{{- if $embedded -}}
{{- if or (gt (int $values.pipeline.replicas) 1) $values.keda.enabled -}}
{{- fail (printf "pipeline.replicas: %s would be in the data directory of each pod, so there can be one replica only; give their URLs in `config` (or turn lake and warehouse off with config.lake.enabled=false), or set pipeline.replicas=1 without keda" $embedded) -}}
{{- end -}}
{{- if not $values.pipeline.persistence.enabled -}}
{{- fail (printf "pipeline.persistence.enabled: %s would be lost with the pod; give their URLs in `config`, or set pipeline.persistence.enabled=true" $embedded) -}}
{{- end -}}
{{- end -}}

{{- if $values.keda.enabled -}}
{{- if not $values.keda.prometheusAddress -}}
{{- fail "keda.prometheusAddress: it is needed with keda.enabled" -}}
{{- end -}}
{{- $most := include "theatre.kedaMaxReplicas" . | int -}}
{{- if gt $most (include "theatre.partitions" . | int) -}}
{{- fail (printf "keda.maxReplicas: %d pods cannot share %s partitions" $most (include "theatre.partitions" .)) -}}
{{- end -}}
{{- if gt (int $values.keda.minReplicas) $most -}}
{{- fail (printf "keda.minReplicas: %d is more than keda.maxReplicas, %d" (int $values.keda.minReplicas) $most) -}}
{{- end -}}
{{- end -}}
{{- end -}}
