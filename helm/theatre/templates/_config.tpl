{{/*
theatre.toml as a dictionary: `config`, and what the chart itself knows, as JSON. Paths of secrets
are those at which `theatre.secretVolume` mounts them.
*/}}
{{- define "theatre.config" -}}
{{- $secrets := .Values.secrets -}}
{{- $config := deepCopy .Values.config -}}
{{- range $section := list "log" "store" "lake" "warehouse" "registry" -}}
{{- if not (get $config $section) -}}{{- $_ := set $config $section dict -}}{{- end -}}
{{- end -}}
{{- $admin := .Values.pipeline.admin -}}
{{- $_ := set $config "admin" (printf "%s:%d" $admin.host (int $admin.port)) -}}
{{- if $secrets.pseudonymKey.existingSecret -}}
{{- $_ := set $config "pseudonym_key_file" "/etc/theatre/secrets/pseudonym/key" -}}
{{- end -}}
{{- range $file := include "theatre.secretFiles" . | fromYamlArray -}}
{{- if $file.key -}}
{{- $path := printf "/etc/theatre/secrets/%s" $file.path -}}
{{- $_ := set (get $config $file.section) $file.setting $path -}}
{{- end -}}
{{- end -}}
{{- range $section := list "log" "store" "lake" "warehouse" "registry" -}}
{{- if not (get $config $section) -}}{{- $_ := unset $config $section -}}{{- end -}}
{{- end -}}
{{- toJson $config -}}
{{- end -}}

{{/*
The files that secrets hold, and the settings that name them: a list in YAML. `key` is the key of
the secret; without one there is no such file.
*/}}
{{- define "theatre.secretFiles" -}}
{{- with .Values.secrets.kafka }}{{ if .existingSecret }}
{{- $secret := .existingSecret }}
- {secret: {{ $secret }}, key: {{ .passwordKey }},
   section: log, setting: password_file, path: kafka/password}
- {secret: {{ $secret }}, key: {{ .certificateKey }},
   section: log, setting: certificate_file, path: kafka/client.crt}
- {secret: {{ $secret }}, key: {{ .privateKeyKey }},
   section: log, setting: key_file, path: kafka/client.key}
- {secret: {{ $secret }}, key: {{ .privateKeyPasswordKey }},
   section: log, setting: key_password_file, path: kafka/client.key.password}
- {secret: {{ $secret }}, key: {{ .caKey }},
   section: log, setting: ca_file, path: kafka/ca.crt}
{{- end }}{{ end }}
{{- with .Values.secrets.store }}{{ if .existingSecret }}
- {secret: {{ .existingSecret }}, key: {{ .passwordKey }},
   section: store, setting: password_file, path: store/password}
- {secret: {{ .existingSecret }}, key: {{ .caKey }},
   section: store, setting: ca_file, path: store/ca.crt}
{{- end }}{{ end }}
{{- with .Values.secrets.registry }}{{ if .existingSecret }}
- {secret: {{ .existingSecret }}, key: {{ .passwordKey }},
   section: registry, setting: password_file, path: registry/password}
- {secret: {{ .existingSecret }}, key: {{ .caKey }},
   section: registry, setting: ca_file, path: registry/ca.crt}
{{- end }}{{ end }}
{{- with .Values.secrets.objectStore }}{{ if .existingSecret }}
{{- $secret := . }}
{{- range $section := list "lake" "warehouse" }}{{ if dig $section "endpoint" "" $.Values.config }}
- {secret: {{ $secret.existingSecret }}, key: {{ $secret.credentialsKey }},
   section: {{ $section }}, setting: credentials_file, path: object-store/credentials}
{{- end }}{{ end }}
{{- end }}{{ end }}
{{- end -}}

{{/*
A dictionary as TOML: what has no table first, then tables, then arrays of tables. What lies deeper
is written in line. (Helm's own toToml writes whole numbers of values files as 12.0.)
*/}}
{{- define "theatre.toml" -}}
{{- $config := . -}}
{{- range $key, $value := $config -}}
{{- $rows := and (kindIs "slice" $value) (gt (len $value) 0) (kindIs "map" (first $value)) -}}
{{- if not (or (kindIs "map" $value) (kindIs "invalid" $value) $rows) }}
{{ include "theatre.toml.key" $key }} = {{ include "theatre.toml.value" $value }}
{{- end -}}
{{- end -}}
{{- range $key, $value := $config -}}
{{- if kindIs "map" $value }}

[{{ include "theatre.toml.key" $key }}]
{{- include "theatre.toml.pairs" $value -}}
{{- end -}}
{{- end -}}
{{- range $key, $value := $config -}}
{{- if kindIs "slice" $value -}}
{{- range $row := $value -}}
{{- if kindIs "map" $row }}

[[{{ include "theatre.toml.key" $key }}]]
{{- include "theatre.toml.pairs" $row -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "theatre.toml.pairs" -}}
{{- range $key, $value := . -}}
{{- if not (kindIs "invalid" $value) }}
{{ include "theatre.toml.key" $key }} = {{ include "theatre.toml.value" $value }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "theatre.toml.key" -}}
{{- ternary . (toJson .) (regexMatch "^[A-Za-z0-9_-]+$" .) -}}
{{- end -}}

{{/* Numbers of values files are floats. A text of JSON is one of TOML, too. */}}
{{- define "theatre.toml.value" -}}
{{- if kindIs "float64" . -}}
{{- ternary (int64 . | toString) (toString .) (eq (floor .) .) -}}
{{- else if kindIs "string" . -}}
{{- toJson . -}}
{{- else if kindIs "slice" . -}}
{{- $items := list -}}
{{- range . -}}{{- $items = append $items (include "theatre.toml.value" .) -}}{{- end -}}
[{{ join ", " $items }}]
{{- else if kindIs "map" . -}}
{{- $pairs := list -}}
{{- range $key, $value := . -}}
{{- $name := include "theatre.toml.key" $key -}}
{{- $pairs = append $pairs (printf "%s = %s" $name (include "theatre.toml.value" $value)) -}}
{{- end -}}
{ {{- join ", " $pairs -}} }
{{- else -}}
{{- toString . -}}
{{- end -}}
{{- end -}}

{{/* The data of the ConfigMap: theatre.toml, and the files beside it. */}}
{{- define "theatre.configData" -}}
theatre.toml: |
  # Made by the chart from `config`.
  {{- include "theatre.config" . | fromJson | include "theatre.toml" | trim | nindent 2 }}
{{- range $name, $text := .Values.files }}
{{ $name }}: {{ $text | toJson }}
{{- end }}
{{- end -}}
