{{/* What the pods of gateways and sweepers have in common. `.part` and `.top` as in _names.tpl;
`.values` are those of the part. */}}

{{- define "muster.podSecurity" -}}
{{- toYaml .Values.podSecurityContext -}}
{{- end -}}

{{- define "muster.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{- define "muster.podMetadata" -}}
labels:
  {{- include "muster.podLabels" . | nindent 2 }}
  {{- with .values.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
annotations:
  checksum/config: {{ include "muster.settings" . | sha256sum }}
  {{- if eq .part "gateway" }}
  checksum/secrets: {{ pick .top.Values.secrets "fleetSecret" "joinTokens" | toJson | sha256sum }}
  {{- end }}
  {{- with .values.podAnnotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{- define "muster.podSpec" -}}
serviceAccountName: {{ include "muster.serviceAccount" .top }}
automountServiceAccountToken: false
# With them a Service called muster would set MUSTER_PORT to an address.
enableServiceLinks: false
securityContext:
  {{- include "muster.podSecurity" .top | nindent 2 }}
{{- with .top.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.initContainers }}
initContainers:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- range . }}
  - {{ toYaml . | nindent 4 | trim }}
    {{- if not .labelSelector }}
    labelSelector:
      matchLabels:
        {{- include "muster.selector" $ | nindent 8 }}
    {{- end }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* Settings of a process that are no secrets, as the data of its ConfigMap. */}}
{{- define "muster.settings" -}}
{{- $own := dict "MUSTER_REDIS_PREFIX" .top.Values.store.prefix -}}
{{- if eq .part "gateway" -}}
{{- $own = merge (include "muster.gatewaySettings" .top | fromYaml) $own -}}
{{- else -}}
{{- $_ := set $own "MUSTER_SWEEPER_PORT" "9090" -}}
{{- end -}}
{{- if .top.Values.store.tls.enabled -}}
{{- $own = merge (include "muster.storeTlsSettings" .top | fromYaml) $own -}}
{{- end -}}
{{- $given := merge (dict) .values.settings .top.Values.settings (dict "MUSTER_HOST" "0.0.0.0" "MUSTER_LOG_FORMAT" "json") -}}
{{- range $name, $_ := $given -}}
{{- if hasKey $own $name -}}
{{- fail (printf "%s is made of other values of the chart: look for it in values.yaml" $name) -}}
{{- end -}}
{{- end -}}
{{- range $name, $value := merge $own $given }}
{{ $name }}: {{ $value | toString | quote }}
{{- end -}}
{{- end -}}

{{- define "muster.gatewaySettings" -}}
MUSTER_PORT: "8080"
MUSTER_DRAIN_WINDOW_S: {{ .Values.gateway.drainWindowSeconds | quote }}
MUSTER_ALLOW_SIMULATED: {{ .Values.allowSimulated | quote }}
MUSTER_API_TOKENS_FILE: /etc/muster/tokens/api-tokens
{{- with .Values.gateway.trustedProxies }}
MUSTER_TRUSTED_PROXIES: {{ join "," . | quote }}
{{- end }}
{{- if .Values.gateway.tls.enabled }}
MUSTER_TLS_CERT_FILE: /etc/muster/tls/tls.crt
MUSTER_TLS_KEY_FILE: /etc/muster/tls/tls.key
{{- end }}
{{- end -}}

{{- define "muster.storeTlsVolume" -}}
{{- if and .Values.store.tls.enabled .Values.store.tls.existingSecret }}
- name: store-tls
  secret: {secretName: {{ .Values.store.tls.existingSecret }}, defaultMode: 0440}
{{- end }}
{{- end -}}

{{- define "muster.storeTlsMount" -}}
{{- if and .Values.store.tls.enabled .Values.store.tls.existingSecret }}
- {name: store-tls, mountPath: /etc/muster/store-tls, readOnly: true}
{{- end }}
{{- end -}}

{{/* Whom to believe the store's certificate, and what to show it. */}}
{{- define "muster.storeTlsSettings" -}}
{{- $tls := .Values.store.tls -}}
{{- if $tls.existingSecret }}
MUSTER_REDIS_CA_FILE: /etc/muster/store-tls/ca.crt
{{- end }}
{{- if $tls.clientCertificate }}
MUSTER_REDIS_CERT_FILE: /etc/muster/store-tls/tls.crt
MUSTER_REDIS_KEY_FILE: /etc/muster/store-tls/tls.key
{{- end }}
MUSTER_REDIS_CHECK_HOSTNAME: {{ $tls.checkHostname | quote }}
{{- end -}}
