{{/* The beginning of the names of all objects. The longest ending is that of a CronJob's pod. */}}
{{- define "theatre.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $both := printf "%s-%s" .Release.Name $name -}}
{{- $full := ternary .Release.Name $both (contains $name .Release.Name) -}}
{{- default $full .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* What tells the pods of a release apart from others. It must never change. */}}
{{- define "theatre.selectorLabels" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* Labels of an object. Arguments: root, component. */}}
{{- define "theatre.labels" -}}
{{- $root := .root -}}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{ include "theatre.selectorLabels" $root }}
app.kubernetes.io/component: {{ .component }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: theatre
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
{{- with $root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/*
The image: as the values name it, or that of the release, whose repository and digest are an
annotation of the chart.
*/}}
{{- define "theatre.image" -}}
{{- $image := .Values.image -}}
{{- $released := index .Chart.Annotations "theatre/image" -}}
{{- $repository := default (first (splitList "@" $released)) $image.repository -}}
{{- if $image.digest -}}
{{ $repository }}@{{ $image.digest }}
{{- else if or $image.tag $image.repository -}}
{{ $repository }}:{{ default .Chart.AppVersion $image.tag }}
{{- else -}}
{{ $released }}
{{- end -}}
{{- end -}}

{{- define "theatre.serviceAccountName" -}}
{{- $account := .Values.serviceAccount -}}
{{- if $account.create -}}
{{ default (include "theatre.fullname" .) $account.name }}
{{- else -}}
{{ default "default" $account.name }}
{{- end -}}
{{- end -}}

{{/*
The account of the API, whose rights are others: it appends what is sent to it, and reads no lake.
Without one of its own it has that of the pipeline.
*/}}
{{- define "theatre.apiServiceAccountName" -}}
{{- $account := .Values.api.serviceAccount -}}
{{- if $account.create -}}
{{ default (printf "%s-api" (include "theatre.fullname" .)) $account.name }}
{{- else -}}
{{ default (include "theatre.serviceAccountName" .) $account.name }}
{{- end -}}
{{- end -}}

{{/*
The account of the jobs of a release. They run before the release's own objects are there, and
objects of hooks are made anew each time, which would take the tokens of running pods away.
*/}}
{{- define "theatre.jobsServiceAccountName" -}}
{{- include "theatre.serviceAccountName" . }}{{ if .Values.serviceAccount.create }}-jobs{{ end }}
{{- end -}}

{{/* Annotations of what has to be there before the jobs of a release. Argument: weight. */}}
{{- define "theatre.hook" -}}
helm.sh/hook: pre-install,pre-upgrade
helm.sh/hook-weight: {{ . | quote }}
helm.sh/hook-delete-policy: before-hook-creation
{{- end -}}
