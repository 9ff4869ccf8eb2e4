{{/*
A pod that runs one command to its end. Arguments: root, component, account, configMap, resources,
command (a list), env (further variables, optional).
*/}}
{{- define "theatre.commandPod" -}}
{{- $root := .root -}}
metadata:
  labels:
    {{- include "theatre.podLabels" (dict "root" $root "component" .component) | nindent 4 }}
  {{- with $root.Values.podAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  restartPolicy: Never
  serviceAccountName: {{ .account }}
  {{- include "theatre.podSpec" $root | nindent 2 }}
  containers:
    - name: theatre
      {{- include "theatre.container" $root | nindent 6 }}
      args:
        - --data=/var/lib/theatre
        {{- toYaml .command | nindent 8 }}
      env:
        {{- include "theatre.env" $root | nindent 8 }}
        {{- with .env }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      resources:
        {{- toYaml .resources | nindent 8 }}
  volumes:
    {{- include "theatre.volumes" (dict "root" $root "configMap" .configMap) | nindent 4 }}
    {{- include "theatre.scratch" $root | nindent 4 }}
{{- end -}}

{{/*
Exit codes after which nothing is tried again: 2, a wrong configuration, and 4, a difference. What
does not answer (3) may be there in a moment.
*/}}
{{- define "theatre.podFailurePolicy" -}}
podFailurePolicy:
  rules:
    - action: FailJob
      onExitCodes:
        containerName: theatre
        operator: In
        values: [2, 4]
{{- end -}}

{{/* A job of a release. Arguments: root, name, weight, command (a list). */}}
{{- define "theatre.releaseJob" -}}
{{- $root := .root -}}
{{- $labels := dict "root" $root "component" "job" -}}
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ include "theatre.fullname" $root }}-{{ .name }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "theatre.labels" $labels | nindent 4 }}
  annotations:
    helm.sh/hook: pre-install,pre-upgrade
    helm.sh/hook-weight: {{ .weight | quote }}
    helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
spec:
  backoffLimit: {{ $root.Values.jobs.backoffLimit }}
  activeDeadlineSeconds: {{ $root.Values.jobs.activeDeadlineSeconds }}
  {{- include "theatre.podFailurePolicy" . | nindent 2 }}
  template:
    {{- $pod := dict "root" $root "component" "job" "command" .command }}
    {{- $_ := set $pod "account" (include "theatre.jobsServiceAccountName" $root) }}
    {{- $_ := set $pod "configMap" (printf "%s-jobs" (include "theatre.fullname" $root)) }}
    {{- $_ := set $pod "resources" $root.Values.jobs.resources }}
    {{- include "theatre.commandPod" $pod | nindent 4 }}
{{- end -}}
