{{/*
A policy for the pods of one component. Arguments: root, component, ports (names of those that may
be reached), hook (a weight, for one that is there before the release).
*/}}
{{- define "theatre.networkPolicy" -}}
{{- $root := .root -}}
{{- $component := .component -}}
{{- $policy := $root.Values.networkPolicy -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ include "theatre.fullname" $root }}-{{ .component }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "theatre.labels" (dict "root" $root "component" .component) | nindent 4 }}
  {{- if hasKey . "hook" }}
  annotations:
    {{- include "theatre.hook" .hook | nindent 4 }}
  {{- end }}
spec:
  podSelector:
    matchLabels:
      {{- include "theatre.selectorLabels" $root | nindent 6 }}
      app.kubernetes.io/component: {{ .component }}
  policyTypes: {{ ternary "[Ingress, Egress]" "[Ingress]" $policy.egress.enabled }}
  {{- if .ports }}
  ingress:
    {{- range .ports }}
    {{- $from := ternary $root.Values.api.ingressFrom $policy.ingressFrom (eq . "http") }}
    - ports:
        - {port: {{ . }}, protocol: TCP}
      {{- with $from }}
      from:
        {{- toYaml . | nindent 8 }}
        {{- if and $root.Values.tests.enabled (eq $component "pipeline") }}
        # The pod of `helm test`.
        - podSelector:
            matchLabels:
              {{- include "theatre.selectorLabels" $root | nindent 14 }}
              app.kubernetes.io/component: test
        {{- end }}
      {{- end }}
    {{- end }}
  {{- else }}
  ingress: []
  {{- end }}
  {{- if $policy.egress.enabled }}
  egress:
    - ports:
        - {port: 53, protocol: UDP}
        - {port: 53, protocol: TCP}
    {{- with $policy.egress.ports }}
    - ports:
        {{- range . }}
        - {port: {{ . }}, protocol: TCP}
        {{- end }}
    {{- end }}
    {{- with $policy.egress.extra }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- end }}
{{- end -}}
