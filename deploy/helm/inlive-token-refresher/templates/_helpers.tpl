{{/* The name of the objects: that of the release, for which `inlive-token-refresher` is the best name. */}}
{{- define "refresher.fullname" -}}
{{- $name := .Values.nameOverride | default .Chart.Name -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{/* The labels that select the working Pods, and not the Pod of `helm test`. */}}
{{- define "refresher.selector" -}}
app.kubernetes.io/name: {{ .Values.nameOverride | default .Chart.Name | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "refresher.labels" -}}
{{ include "refresher.selector" . }}
app.kubernetes.io/part-of: {{ .Chart.Name | quote }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "refresher.metadata" -}}
name: {{ include "refresher.fullname" . | quote }}
namespace: {{ .Release.Namespace | quote }}
labels: {{- include "refresher.labels" . | nindent 2 }}
{{- end }}

{{- define "refresher.image" -}}
{{- with .Values.image -}}
{{- if and .tag .digest -}}
{{- fail "image: tag and digest are both set: set image.digest to \"\" to use the tag, or leave the tag out" -}}
{{- end -}}
{{- .repository -}}
{{- if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end -}}
{{- end -}}
{{- end }}

{{- define "refresher.config" -}}
{{- if and .Values.config.leader_election (ne .Values.mode "ha") -}}
{{- fail (printf "config.leader_election: needs mode: ha, but this is mode: %s" .Values.mode) -}}
{{- end -}}
{{- .Values.config | toYaml -}}
{{- end }}

{{/* Whether one of several processes works. */}}
{{- define "refresher.elects" -}}
{{- if or (eq .Values.mode "ha") (and (eq .Values.mode "controller") (gt (int .Values.controller.replicas) 1)) }}yes{{ end -}}
{{- end }}

{{/* JSON: the arguments of `refresher controller`. Its other settings are variables. */}}
{{- define "refresher.controller" -}}
{{- $others := omit .Values.config "issuer" "leader_election" -}}
{{- if ne ($others.tokens | toJson) (include "refresher.defaultTokens" . | fromYamlArray | toJson) -}}
{{- fail "config.tokens: not with mode: controller, whose tokens are AccessToken objects; leave it out" -}}
{{- end -}}
{{- range $option, $_ := omit $others "tokens" -}}
{{- fail (printf "config.%s: not with mode: controller, which uses only config.issuer and config.leader_election" $option) -}}
{{- end -}}
{{- with .Values.controller -}}
{{- if and .namespaces .allNamespaces -}}
{{- fail "controller: namespaces and allNamespaces are both set: leave one of them out" -}}
{{- end -}}
{{- if and $.Values.config.leader_election (lt (int .replicas) 2) -}}
{{- fail "config.leader_election: needs controller.replicas: 2 or more" -}}
{{- end -}}
{{- $arguments := list "controller" "--listen=:9464" -}}
{{- with .namespaces }}{{ $arguments = append $arguments (join "," . | printf "--namespaces=%s") }}{{ end -}}
{{- if .allNamespaces }}{{ $arguments = append $arguments "--all-namespaces" }}{{ end -}}
{{- with .selector }}{{ $arguments = append $arguments (printf "--selector=%s" .) }}{{ end -}}
{{- $arguments | toJson -}}
{{- end -}}
{{- end }}

{{/* YAML: config.tokens of values.yaml, which nobody wrote for the controller. */}}
{{- define "refresher.defaultTokens" -}}
- name: inlive
  key_file: /var/run/secrets/inlive/application-key
  outputs: [{ secret: inlive-access-token }]
{{- end }}

{{/* JSON: the names of the Secrets to write, by namespace. The release's namespace is always included. */}}
{{- define "refresher.secrets" -}}
{{- $places := dict .Release.Namespace list -}}
{{- range ne .Values.mode "controller" | ternary .Values.config.tokens list -}}
{{- range .outputs -}}
{{- with .secret -}}
{{- $place := splitList "/" (contains "/" . | ternary . (printf "%s/%s" $.Release.Namespace .)) -}}
{{- $known := dig (index $place 0) list $places -}}
{{- $_ := set $places (index $place 0) (append $known (index $place 1) | uniq) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if has .Values.applicationKeySecret (index $places .Release.Namespace) -}}
{{- fail (printf "config: readers of a token in the Secret %s would also read the application key: use another Secret" .Values.applicationKeySecret) -}}
{{- end -}}
{{- $places | toJson -}}
{{- end }}

{{/* Variables configure every Pod, so that `kubectl exec … -- refresher check` uses the same configuration. */}}
{{- define "refresher.env" -}}
{{- if ne .Values.mode "controller" }}
- { name: REFRESHER_CONFIG, value: /etc/inlive/refresher.yaml }
{{- else }}
{{- $variables := dict "url" "ISSUER_URL" "timeout" "ISSUER_TIMEOUT" "ca_file" "CA_FILE" "max_lifetime" "MAX_LIFETIME" "verify" "VERIFY_URL" }}
{{- range $option, $value := .Values.config.issuer }}
{{- if not (hasKey $variables $option) }}{{ fail (printf "config.issuer.%s: not with mode: controller" $option) }}{{ end }}
- { name: REFRESHER_{{ get $variables $option }}, value: {{ $value | quote }} }
{{- end }}
{{- with .Values.config.leader_election }}
- { name: REFRESHER_LEASE_DURATION, value: {{ .duration | quote }} }
{{- end }}
{{- end }}
{{- if include "refresher.elects" . }}
- { name: REFRESHER_LEASE, value: {{ include "refresher.fullname" . | quote }} }
{{- end }}
{{- if ne (include "refresher.fullname" .) "inlive-token-refresher" }}
# Two in one namespace would overwrite each other's Secrets. It is the same in every mode.
- { name: REFRESHER_OWNER, value: {{ include "refresher.fullname" . | quote }} }
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The specification of a Pod. Argument: [root, further fields of the container]. */}}
{{- define "refresher.pod" -}}
{{- $container := index . 1 -}}
{{- with index . 0 -}}
{{- $volumes := include "refresher.volumes" . | fromYaml -}}
serviceAccountName: {{ include "refresher.fullname" . | quote }}
automountServiceAccountToken: true
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  {{- if ne .Values.mode "controller" }}
  fsGroup: 65532 # root owns the key; kubelet gives it to this group and changes 0400 to 0440
  {{- end }}
  seccompProfile: { type: RuntimeDefault }
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
containers:
  - name: refresher
    image: {{ include "refresher.image" . | quote }}
    imagePullPolicy: {{ .Values.image.pullPolicy }}
    {{- $container | nindent 4 }}
    {{- with include "refresher.env" . | trim }}
    env: {{- . | nindent 6 }}
    {{- end }}
    resources: {{- toYaml .Values.resources | nindent 6 }}
    securityContext:
      allowPrivilegeEscalation: false
      readOnlyRootFilesystem: true
      capabilities: { drop: [ALL] }
    {{- with concat (index $volumes "mounts") .Values.extraVolumeMounts }}
    volumeMounts: {{- toYaml . | nindent 6 }}
    {{- end }}
{{- with concat (index $volumes "volumes") .Values.extraVolumes }}
volumes: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end }}

{{/* YAML: the mounts of the container, and their volumes. The controller reads no file. */}}
{{- define "refresher.volumes" -}}
{{- if eq .Values.mode "controller" -}}
mounts: []
volumes: []
{{- else -}}
mounts:
  - { name: configuration, mountPath: /etc/inlive, readOnly: true }
  - { name: key, mountPath: /var/run/secrets/inlive, readOnly: true }
volumes:
  - name: configuration
    configMap: { name: {{ include "refresher.fullname" . }}-config }
  - name: key
    secret: { secretName: {{ .Values.applicationKeySecret | quote }}, defaultMode: 0400 }
{{- end -}}
{{- end }}

{{- define "refresher.controllerNotes" -}}
{{- $in := printf "--namespace %s" .Release.Namespace -}}
{{- $places := .Values.controller.namespaces | default (list .Release.Namespace) -}}
{{- $team := printf "--namespace %s" (.Values.controller.allNamespaces | ternary "NAMESPACE" (first $places)) -}}
{{ .Chart.Name }} {{ .Chart.AppVersion }} serves the AccessTokens of {{ .Values.controller.allNamespaces | ternary "every namespace" (join ", " $places) }}
{{- with .Values.controller.selector }} with the labels {{ . }}{{ end }}.

Is it ready, and may it do its work?

  kubectl {{ $in }} rollout status deploy/{{ include "refresher.fullname" . }}

The key of a team is in a Secret of its namespace, with a label:

  kubectl {{ $team }} create secret generic inlive-application-key --from-file=application-key=KEY
  kubectl {{ $team }} label secret inlive-application-key token-refresher.inlive.app/key=true

How the tokens are:

  kubectl get accesstokens --all-namespaces
{{- end }}
