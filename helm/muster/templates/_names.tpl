{{/* Names, labels, images. `.part` is gateway, sweeper, store or agent; `.top` the root. */}}
{{- define "muster.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "muster.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "muster.name" . -}}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "muster.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride -}}
{{- end -}}

{{/* What selects the pods of a part; it never changes between versions. */}}
{{- define "muster.selector" -}}
app.kubernetes.io/name: {{ include "muster.name" .top }}
app.kubernetes.io/instance: {{ .top.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end -}}

{{- define "muster.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .top.Chart.Name .top.Chart.Version | replace "+" "_" }}
{{ include "muster.selector" . }}
app.kubernetes.io/version: {{ .top.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .top.Release.Service }}
app.kubernetes.io/part-of: muster
{{- with .top.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Of pods: nothing that a new version of the chart alone changes, or it would start all anew. */}}
{{- define "muster.podLabels" -}}
{{ include "muster.selector" . }}
app.kubernetes.io/part-of: muster
{{- with .top.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Name, namespace and labels of an object; `.suffix` if it is not the part's own name. */}}
{{- define "muster.metadata" -}}
name: {{ include "muster.fullname" .top }}-{{ default .part .suffix }}
namespace: {{ include "muster.namespace" .top }}
labels:
  {{- include "muster.labels" . | nindent 2 }}
{{- end -}}

{{- define "muster.image" -}}
{{- $image := .image -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ default .top.Chart.AppVersion $image.tag }}
{{- end -}}
{{- end -}}

{{- define "muster.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "muster.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* The secret of fleet secret and tokens. */}}
{{- define "muster.secret" -}}
{{- default (printf "%s-secrets" (include "muster.fullname" .)) .Values.secrets.existingSecret -}}
{{- end -}}

{{- define "muster.scheme" -}}
{{- ternary "https" "http" .Values.gateway.tls.enabled -}}
{{- end -}}

{{/* A gateway as others in the cluster reach it. `.scheme` is http, https, ws or wss. */}}
{{- define "muster.gatewayHost" -}}
{{ include "muster.fullname" . }}-gateway.{{ include "muster.namespace" . }}.svc:{{ .Values.gateway.service.port }}
{{- end -}}
