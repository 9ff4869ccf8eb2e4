{{/* What the specifications of all pods have in common. Argument: root. */}}
{{- define "theatre.podSpec" -}}
automountServiceAccountToken: {{ .Values.serviceAccount.automountToken }}
enableServiceLinks: false
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.hostAliases }}
hostAliases:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end -}}

{{/* How the pods of a workload are spread. Arguments: root, component. */}}
{{- define "theatre.spread" -}}
{{- $root := .root -}}
{{- $component := .component -}}
{{- with $root.Values.topologySpreadConstraints -}}
topologySpreadConstraints:
{{- range . }}
  - {{ toYaml . | nindent 4 | trim }}
    {{- if not .labelSelector }}
    labelSelector:
      matchLabels:
        {{- include "theatre.selectorLabels" $root | nindent 8 }}
        app.kubernetes.io/component: {{ $component }}
    {{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{/*
Labels of a pod, without the version of the chart: a new one alone restarts no pod. Arguments: root,
component.
*/}}
{{- define "theatre.podLabels" -}}
{{ include "theatre.selectorLabels" .root }}
app.kubernetes.io/component: {{ .component }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: theatre
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- with .root.Values.podLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* What all containers have in common, but for arguments, variables and resources. */}}
{{- define "theatre.container" -}}
image: {{ include "theatre.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
command: [theatre]
securityContext:
  {{- toYaml .Values.containerSecurityContext | nindent 2 }}
{{- with .Values.extraEnvFrom }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
volumeMounts:
  - name: config
    mountPath: /etc/theatre/config
    readOnly: true
  - name: secrets
    mountPath: /etc/theatre/secrets
    readOnly: true
  - name: data
    mountPath: /var/lib/theatre
  - name: tmp
    mountPath: /tmp
  {{- with .Values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{/* Variables that all containers have in common, as the items of a list. */}}
{{- define "theatre.env" -}}
- name: THEATRE_CONFIG
  value: /etc/theatre/config/theatre.toml
- name: THEATRE_LOG
  value: {{ .Values.logging.level | quote }}
- name: THEATRE_LOG_FORMAT
  value: {{ .Values.logging.format }}
{{- $store := .Values.secrets.store }}
{{- if and $store.existingSecret $store.urlKey }}
- name: THEATRE__STORE__URL
  valueFrom:
    secretKeyRef:
      name: {{ $store.existingSecret }}
      key: {{ $store.urlKey }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/*
Volumes of every pod but that of the data directory, as the items of a list. Arguments: root,
configMap.
*/}}
{{- define "theatre.volumes" -}}
{{- $values := .root.Values -}}
- name: config
  configMap:
    name: {{ .configMap }}
- name: secrets
  projected:
    defaultMode: 0440
    sources:
      {{- $seen := dict }}
      {{- with $values.secrets.pseudonymKey }}
      {{- if .existingSecret }}
      - secret:
          name: {{ .existingSecret }}
          items:
            - {key: {{ .key }}, path: pseudonym/key}
      {{- end }}
      {{- end }}
      {{- range $file := include "theatre.secretFiles" .root | fromYamlArray }}
      {{- if and $file.key (not (hasKey $seen $file.path)) }}
      {{- $_ := set $seen $file.path true }}
      - secret:
          name: {{ $file.secret }}
          items:
            - {key: {{ $file.key }}, path: {{ $file.path }}}
      {{- end }}
      {{- end }}
- name: tmp
  emptyDir:
    sizeLimit: 64Mi
{{- with $values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* A scratch volume in place of a data directory, as an item of a list. */}}
{{- define "theatre.scratch" -}}
- name: data
  emptyDir:
    sizeLimit: {{ .Values.pipeline.scratchSize }}
{{- end -}}
