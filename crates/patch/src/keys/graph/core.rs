//! Fields of `io.k8s.api.core.v1` that hold objects.

use super::Edges;

pub(super) static EDGES: Edges = &[
    (
        "io.k8s.api.core.v1.Affinity",
        &[
            ("nodeAffinity", "io.k8s.api.core.v1.NodeAffinity"),
            ("podAffinity", "io.k8s.api.core.v1.PodAffinity"),
            ("podAntiAffinity", "io.k8s.api.core.v1.PodAntiAffinity"),
        ],
    ),
    (
        "io.k8s.api.core.v1.Binding",
        &[
            ("metadata", "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"),
            ("target", "io.k8s.api.core.v1.ObjectReference"),
        ],
    ),
    (
        "io.k8s.api.core.v1.CSIVolumeSource",
        &[("nodePublishSecretRef", "io.k8s.api.core.v1.LocalObjectReference")],
    ),
    ("io.k8s.api.core.v1.CephFSVolumeSource", &[("secretRef", "io.k8s.api.core.v1.LocalObjectReference")]),
    ("io.k8s.api.core.v1.CinderVolumeSource", &[("secretRef", "io.k8s.api.core.v1.LocalObjectReference")]),
    (
        "io.k8s.api.core.v1.ClusterTrustBundleProjection",
        &[("labelSelector", "io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector")],
    ),
    ("io.k8s.api.core.v1.ConfigMap", &[("metadata", "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta")]),
    ("io.k8s.api.core.v1.ConfigMapProjection", &[("items", "io.k8s.api.core.v1.KeyToPath")]),
    ("io.k8s.api.core.v1.ConfigMapVolumeSource", &[("items", "io.k8s.api.core.v1.KeyToPath")]),
    (
        "io.k8s.api.core.v1.Container",
        &[
            ("env", "io.k8s.api.core.v1.EnvVar"),
            ("envFrom", "io.k8s.api.core.v1.EnvFromSource"),
            ("lifecycle", "io.k8s.api.core.v1.Lifecycle"),
            ("livenessProbe", "io.k8s.api.core.v1.Probe"),
            ("ports", "io.k8s.api.core.v1.ContainerPort"),
            ("readinessProbe", "io.k8s.api.core.v1.Probe"),
            ("resizePolicy", "io.k8s.api.core.v1.ContainerResizePolicy"),
            ("resources", "io.k8s.api.core.v1.ResourceRequirements"),
            ("restartPolicyRules", "io.k8s.api.core.v1.ContainerRestartRule"),
            ("securityContext", "io.k8s.api.core.v1.SecurityContext"),
            ("startupProbe", "io.k8s.api.core.v1.Probe"),
            ("volumeDevices", "io.k8s.api.core.v1.VolumeDevice"),
            ("volumeMounts", "io.k8s.api.core.v1.VolumeMount"),
        ],
    ),
    (
        "io.k8s.api.core.v1.ContainerRestartRule",
        &[("exitCodes", "io.k8s.api.core.v1.ContainerRestartRuleOnExitCodes")],
    ),
    (
        "io.k8s.api.core.v1.ContainerState",
        &[
            ("running", "io.k8s.api.core.v1.ContainerStateRunning"),
            ("terminated", "io.k8s.api.core.v1.ContainerStateTerminated"),
            ("waiting", "io.k8s.api.core.v1.ContainerStateWaiting"),
        ],
    ),
    (
        "io.k8s.api.core.v1.ContainerStatus",
        &[
            ("allocatedResourcesStatus", "io.k8s.api.core.v1.ResourceStatus"),
            ("lastState", "io.k8s.api.core.v1.ContainerState"),
            ("resources", "io.k8s.api.core.v1.ResourceRequirements"),
            ("state", "io.k8s.api.core.v1.ContainerState"),
            ("user", "io.k8s.api.core.v1.ContainerUser"),
            ("volumeMounts", "io.k8s.api.core.v1.VolumeMountStatus"),
        ],
    ),
    ("io.k8s.api.core.v1.ContainerUser", &[("linux", "io.k8s.api.core.v1.LinuxContainerUser")]),
    ("io.k8s.api.core.v1.DownwardAPIProjection", &[("items", "io.k8s.api.core.v1.DownwardAPIVolumeFile")]),
    (
        "io.k8s.api.core.v1.DownwardAPIVolumeFile",
        &[
            ("fieldRef", "io.k8s.api.core.v1.ObjectFieldSelector"),
            ("resourceFieldRef", "io.k8s.api.core.v1.ResourceFieldSelector"),
        ],
    ),
    ("io.k8s.api.core.v1.DownwardAPIVolumeSource", &[("items", "io.k8s.api.core.v1.DownwardAPIVolumeFile")]),
    ("io.k8s.api.core.v1.EndpointAddress", &[("targetRef", "io.k8s.api.core.v1.ObjectReference")]),
    (
        "io.k8s.api.core.v1.EndpointSubset",
        &[
            ("addresses", "io.k8s.api.core.v1.EndpointAddress"),
            ("notReadyAddresses", "io.k8s.api.core.v1.EndpointAddress"),
            ("ports", "io.k8s.api.core.v1.EndpointPort"),
        ],
    ),
    (
        "io.k8s.api.core.v1.Endpoints",
        &[
            ("metadata", "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"),
            ("subsets", "io.k8s.api.core.v1.EndpointSubset"),
        ],
    ),
    (
        "io.k8s.api.core.v1.EnvFromSource",
        &[
            ("configMapRef", "io.k8s.api.core.v1.ConfigMapEnvSource"),
            ("secretRef", "io.k8s.api.core.v1.SecretEnvSource"),
        ],
    ),
    ("io.k8s.api.core.v1.EnvVar", &[("valueFrom", "io.k8s.api.core.v1.EnvVarSource")]),
    (
        "io.k8s.api.core.v1.EnvVarSource",
        &[
            ("configMapKeyRef", "io.k8s.api.core.v1.ConfigMapKeySelector"),
            ("fieldRef", "io.k8s.api.core.v1.ObjectFieldSelector"),
            ("fileKeyRef", "io.k8s.api.core.v1.FileKeySelector"),
            ("resourceFieldRef", "io.k8s.api.core.v1.ResourceFieldSelector"),
            ("secretKeyRef", "io.k8s.api.core.v1.SecretKeySelector"),
        ],
    ),
    (
        "io.k8s.api.core.v1.EphemeralContainer",
        &[
            ("env", "io.k8s.api.core.v1.EnvVar"),
            ("envFrom", "io.k8s.api.core.v1.EnvFromSource"),
            ("lifecycle", "io.k8s.api.core.v1.Lifecycle"),
            ("livenessProbe", "io.k8s.api.core.v1.Probe"),
            ("ports", "io.k8s.api.core.v1.ContainerPort"),
            ("readinessProbe", "io.k8s.api.core.v1.Probe"),
            ("resizePolicy", "io.k8s.api.core.v1.ContainerResizePolicy"),
            ("resources", "io.k8s.api.core.v1.ResourceRequirements"),
            ("restartPolicyRules", "io.k8s.api.core.v1.ContainerRestartRule"),
            ("securityContext", "io.k8s.api.core.v1.SecurityContext"),
            ("startupProbe", "io.k8s.api.core.v1.Probe"),
            ("volumeDevices", "io.k8s.api.core.v1.VolumeDevice"),
            ("volumeMounts", "io.k8s.api.core.v1.VolumeMount"),
        ],
    ),
    (
        "io.k8s.api.core.v1.EphemeralVolumeSource",
        &[("volumeClaimTemplate", "io.k8s.api.core.v1.PersistentVolumeClaimTemplate")],
    ),
    (
        "io.k8s.api.core.v1.Event",
        &[
            ("involvedObject", "io.k8s.api.core.v1.ObjectReference"),
            ("metadata", "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"),
            ("related", "io.k8s.api.core.v1.ObjectReference"),
            ("series", "io.k8s.api.core.v1.EventSeries"),
            ("source", "io.k8s.api.core.v1.EventSource"),
        ],
    ),
    ("io.k8s.api.core.v1.FlexVolumeSource", &[("secretRef", "io.k8s.api.core.v1.LocalObjectReference")]),
    ("io.k8s.api.core.v1.HTTPGetAction", &[("httpHeaders", "io.k8s.api.core.v1.HTTPHeader")]),
    ("io.k8s.api.core.v1.ISCSIVolumeSource", &[("secretRef", "io.k8s.api.core.v1.LocalObjectReference")]),
    (
        "io.k8s.api.core.v1.Lifecycle",
        &[
            ("postStart", "io.k8s.api.core.v1.LifecycleHandler"),
            ("preStop", "io.k8s.api.core.v1.LifecycleHandler"),
        ],
    ),
    (
        "io.k8s.api.core.v1.LifecycleHandler",
        &[
            ("exec", "io.k8s.api.core.v1.ExecAction"),
            ("httpGet", "io.k8s.api.core.v1.HTTPGetAction"),
            ("sleep", "io.k8s.api.core.v1.SleepAction"),
            ("tcpSocket", "io.k8s.api.core.v1.TCPSocketAction"),
        ],
    ),
    ("io.k8s.api.core.v1.LoadBalancerIngress", &[("ports", "io.k8s.api.core.v1.PortStatus")]),
    ("io.k8s.api.core.v1.LoadBalancerStatus", &[("ingress", "io.k8s.api.core.v1.LoadBalancerIngress")]),
    (
        "io.k8s.api.core.v1.Namespace",
        &[
            ("metadata", "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"),
            ("spec", "io.k8s.api.core.v1.NamespaceSpec"),
            ("status", "io.k8s.api.core.v1.NamespaceStatus"),
        ],
    ),
    ("io.k8s.api.core.v1.NamespaceStatus", &[("conditions", "io.k8s.api.core.v1.NamespaceCondition")]),
    (
        "io.k8s.api.core.v1.Node",
        &[
            ("metadata", "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"),
            ("spec", "io.k8s.api.core.v1.NodeSpec"),
            ("status", "io.k8s.api.core.v1.NodeStatus"),
        ],
    ),
    (
        "io.k8s.api.core.v1.NodeAffinity",
        &[
            ("preferredDuringSchedulingIgnoredDuringExecution", "io.k8s.api.core.v1.PreferredSchedulingTerm"),
            ("requiredDuringSchedulingIgnoredDuringExecution", "io.k8s.api.core.v1.NodeSelector"),
        ],
    ),
    ("io.k8s.api.core.v1.NodeConfigSource", &[("configMap", "io.k8s.api.core.v1.ConfigMapNodeConfigSource")]),
    (
        "io.k8s.api.core.v1.NodeConfigStatus",
        &[
            ("active", "io.k8s.api.core.v1.NodeConfigSource"),
            ("assigned", "io.k8s.api.core.v1.NodeConfigSource"),
            ("lastKnownGood", "io.k8s.api.core.v1.NodeConfigSource"),
        ],
    ),
    ("io.k8s.api.core.v1.NodeDaemonEndpoints", &[("kubeletEndpoint", "io.k8s.api.core.v1.DaemonEndpoint")]),
    (
        "io.k8s.api.core.v1.NodeRuntimeHandler",
        &[("features", "io.k8s.api.core.v1.NodeRuntimeHandlerFeatures")],
    ),
    ("io.k8s.api.core.v1.NodeSelector", &[("nodeSelectorTerms", "io.k8s.api.core.v1.NodeSelectorTerm")]),
    (
        "io.k8s.api.core.v1.NodeSelectorTerm",
        &[
            ("matchExpressions", "io.k8s.api.core.v1.NodeSelectorRequirement"),
            ("matchFields", "io.k8s.api.core.v1.NodeSelectorRequirement"),
        ],
    ),
    (
        "io.k8s.api.core.v1.NodeSpec",
        &[("configSource", "io.k8s.api.core.v1.NodeConfigSource"), ("taints", "io.k8s.api.core.v1.Taint")],
    ),
    (
        "io.k8s.api.core.v1.NodeStatus",
        &[
            ("addresses", "io.k8s.api.core.v1.NodeAddress"),
            ("conditions", "io.k8s.api.core.v1.NodeCondition"),
            ("config", "io.k8s.api.core.v1.NodeConfigStatus"),
            ("daemonEndpoints", "io.k8s.api.core.v1.NodeDaemonEndpoints"),
            ("features", "io.k8s.api.core.v1.NodeFeatures"),
            ("images", "io.k8s.api.core.v1.ContainerImage"),
            ("nodeInfo", "io.k8s.api.core.v1.NodeSystemInfo"),
            ("runtimeHandlers", "io.k8s.api.core.v1.NodeRuntimeHandler"),
            ("volumesAttached", "io.k8s.api.core.v1.AttachedVolume"),
        ],
    ),
    ("io.k8s.api.core.v1.NodeSystemInfo", &[("swap", "io.k8s.api.core.v1.NodeSwapStatus")]),
    (
        "io.k8s.api.core.v1.PersistentVolumeClaimSpec",
        &[
            ("dataSource", "io.k8s.api.core.v1.TypedLocalObjectReference"),
            ("dataSourceRef", "io.k8s.api.core.v1.TypedObjectReference"),
            ("resources", "io.k8s.api.core.v1.VolumeResourceRequirements"),
            ("selector", "io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector"),
        ],
    ),
    (
        "io.k8s.api.core.v1.PersistentVolumeClaimTemplate",
        &[
            ("metadata", "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"),
            ("spec", "io.k8s.api.core.v1.PersistentVolumeClaimSpec"),
        ],
    ),
    (
        "io.k8s.api.core.v1.Pod",
        &[
            ("metadata", "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"),
            ("spec", "io.k8s.api.core.v1.PodSpec"),
            ("status", "io.k8s.api.core.v1.PodStatus"),
        ],
    ),
    (
        "io.k8s.api.core.v1.PodAffinity",
        &[
            ("preferredDuringSchedulingIgnoredDuringExecution", "io.k8s.api.core.v1.WeightedPodAffinityTerm"),
            ("requiredDuringSchedulingIgnoredDuringExecution", "io.k8s.api.core.v1.PodAffinityTerm"),
        ],
    ),
    (
        "io.k8s.api.core.v1.PodAffinityTerm",
        &[
            ("labelSelector", "io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector"),
            ("namespaceSelector", "io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector"),
        ],
    ),
    (
        "io.k8s.api.core.v1.PodAntiAffinity",
        &[
            ("preferredDuringSchedulingIgnoredDuringExecution", "io.k8s.api.core.v1.WeightedPodAffinityTerm"),
            ("requiredDuringSchedulingIgnoredDuringExecution", "io.k8s.api.core.v1.PodAffinityTerm"),
        ],
    ),
    ("io.k8s.api.core.v1.PodDNSConfig", &[("options", "io.k8s.api.core.v1.PodDNSConfigOption")]),
    (
        "io.k8s.api.core.v1.PodExtendedResourceClaimStatus",
        &[("requestMappings", "io.k8s.api.core.v1.ContainerExtendedResourceRequest")],
    ),
    (
        "io.k8s.api.core.v1.PodSecurityContext",
        &[
            ("appArmorProfile", "io.k8s.api.core.v1.AppArmorProfile"),
            ("seLinuxOptions", "io.k8s.api.core.v1.SELinuxOptions"),
            ("seccompProfile", "io.k8s.api.core.v1.SeccompProfile"),
            ("sysctls", "io.k8s.api.core.v1.Sysctl"),
            ("windowsOptions", "io.k8s.api.core.v1.WindowsSecurityContextOptions"),
        ],
    ),
    (
        "io.k8s.api.core.v1.PodSpec",
        &[
            ("affinity", "io.k8s.api.core.v1.Affinity"),
            ("containers", "io.k8s.api.core.v1.Container"),
            ("dnsConfig", "io.k8s.api.core.v1.PodDNSConfig"),
            ("ephemeralContainers", "io.k8s.api.core.v1.EphemeralContainer"),
            ("hostAliases", "io.k8s.api.core.v1.HostAlias"),
            ("imagePullSecrets", "io.k8s.api.core.v1.LocalObjectReference"),
            ("initContainers", "io.k8s.api.core.v1.Container"),
            ("os", "io.k8s.api.core.v1.PodOS"),
            ("readinessGates", "io.k8s.api.core.v1.PodReadinessGate"),
            ("resourceClaims", "io.k8s.api.core.v1.PodResourceClaim"),
            ("resources", "io.k8s.api.core.v1.ResourceRequirements"),
            ("schedulingGates", "io.k8s.api.core.v1.PodSchedulingGate"),
            ("securityContext", "io.k8s.api.core.v1.PodSecurityContext"),
            ("tolerations", "io.k8s.api.core.v1.Toleration"),
            ("topologySpreadConstraints", "io.k8s.api.core.v1.TopologySpreadConstraint"),
            ("volumes", "io.k8s.api.core.v1.Volume"),
            ("workloadRef", "io.k8s.api.core.v1.WorkloadReference"),
        ],
    ),
    (
        "io.k8s.api.core.v1.PodStatus",
        &[
            ("conditions", "io.k8s.api.core.v1.PodCondition"),
            ("containerStatuses", "io.k8s.api.core.v1.ContainerStatus"),
            ("ephemeralContainerStatuses", "io.k8s.api.core.v1.ContainerStatus"),
            ("extendedResourceClaimStatus", "io.k8s.api.core.v1.PodExtendedResourceClaimStatus"),
            ("hostIPs", "io.k8s.api.core.v1.HostIP"),
            ("initContainerStatuses", "io.k8s.api.core.v1.ContainerStatus"),
            ("podIPs", "io.k8s.api.core.v1.PodIP"),
            ("resourceClaimStatuses", "io.k8s.api.core.v1.PodResourceClaimStatus"),
            ("resources", "io.k8s.api.core.v1.ResourceRequirements"),
        ],
    ),
    (
        "io.k8s.api.core.v1.PodTemplate",
        &[
            ("metadata", "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"),
            ("template", "io.k8s.api.core.v1.PodTemplateSpec"),
        ],
    ),
    (
        "io.k8s.api.core.v1.PodTemplateSpec",
        &[
            ("metadata", "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"),
            ("spec", "io.k8s.api.core.v1.PodSpec"),
        ],
    ),
    ("io.k8s.api.core.v1.PreferredSchedulingTerm", &[("preference", "io.k8s.api.core.v1.NodeSelectorTerm")]),
    (
        "io.k8s.api.core.v1.Probe",
        &[
            ("exec", "io.k8s.api.core.v1.ExecAction"),
            ("grpc", "io.k8s.api.core.v1.GRPCAction"),
            ("httpGet", "io.k8s.api.core.v1.HTTPGetAction"),
            ("tcpSocket", "io.k8s.api.core.v1.TCPSocketAction"),
        ],
    ),
    ("io.k8s.api.core.v1.ProjectedVolumeSource", &[("sources", "io.k8s.api.core.v1.VolumeProjection")]),
    ("io.k8s.api.core.v1.RBDVolumeSource", &[("secretRef", "io.k8s.api.core.v1.LocalObjectReference")]),
    ("io.k8s.api.core.v1.ResourceRequirements", &[("claims", "io.k8s.api.core.v1.ResourceClaim")]),
    ("io.k8s.api.core.v1.ResourceStatus", &[("resources", "io.k8s.api.core.v1.ResourceHealth")]),
    ("io.k8s.api.core.v1.ScaleIOVolumeSource", &[("secretRef", "io.k8s.api.core.v1.LocalObjectReference")]),
    ("io.k8s.api.core.v1.Secret", &[("metadata", "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta")]),
    ("io.k8s.api.core.v1.SecretProjection", &[("items", "io.k8s.api.core.v1.KeyToPath")]),
    ("io.k8s.api.core.v1.SecretVolumeSource", &[("items", "io.k8s.api.core.v1.KeyToPath")]),
    (
        "io.k8s.api.core.v1.SecurityContext",
        &[
            ("appArmorProfile", "io.k8s.api.core.v1.AppArmorProfile"),
            ("capabilities", "io.k8s.api.core.v1.Capabilities"),
            ("seLinuxOptions", "io.k8s.api.core.v1.SELinuxOptions"),
            ("seccompProfile", "io.k8s.api.core.v1.SeccompProfile"),
            ("windowsOptions", "io.k8s.api.core.v1.WindowsSecurityContextOptions"),
        ],
    ),
    (
        "io.k8s.api.core.v1.Service",
        &[
            ("metadata", "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"),
            ("spec", "io.k8s.api.core.v1.ServiceSpec"),
            ("status", "io.k8s.api.core.v1.ServiceStatus"),
        ],
    ),
    (
        "io.k8s.api.core.v1.ServiceAccount",
        &[
            ("imagePullSecrets", "io.k8s.api.core.v1.LocalObjectReference"),
            ("metadata", "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"),
            ("secrets", "io.k8s.api.core.v1.ObjectReference"),
        ],
    ),
    (
        "io.k8s.api.core.v1.ServiceSpec",
        &[
            ("ports", "io.k8s.api.core.v1.ServicePort"),
            ("sessionAffinityConfig", "io.k8s.api.core.v1.SessionAffinityConfig"),
        ],
    ),
    (
        "io.k8s.api.core.v1.ServiceStatus",
        &[
            ("conditions", "io.k8s.apimachinery.pkg.apis.meta.v1.Condition"),
            ("loadBalancer", "io.k8s.api.core.v1.LoadBalancerStatus"),
        ],
    ),
    ("io.k8s.api.core.v1.SessionAffinityConfig", &[("clientIP", "io.k8s.api.core.v1.ClientIPConfig")]),
    ("io.k8s.api.core.v1.StorageOSVolumeSource", &[("secretRef", "io.k8s.api.core.v1.LocalObjectReference")]),
    (
        "io.k8s.api.core.v1.TopologySelectorTerm",
        &[("matchLabelExpressions", "io.k8s.api.core.v1.TopologySelectorLabelRequirement")],
    ),
    (
        "io.k8s.api.core.v1.TopologySpreadConstraint",
        &[("labelSelector", "io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector")],
    ),
    (
        "io.k8s.api.core.v1.Volume",
        &[
            ("awsElasticBlockStore", "io.k8s.api.core.v1.AWSElasticBlockStoreVolumeSource"),
            ("azureDisk", "io.k8s.api.core.v1.AzureDiskVolumeSource"),
            ("azureFile", "io.k8s.api.core.v1.AzureFileVolumeSource"),
            ("cephfs", "io.k8s.api.core.v1.CephFSVolumeSource"),
            ("cinder", "io.k8s.api.core.v1.CinderVolumeSource"),
            ("configMap", "io.k8s.api.core.v1.ConfigMapVolumeSource"),
            ("csi", "io.k8s.api.core.v1.CSIVolumeSource"),
            ("downwardAPI", "io.k8s.api.core.v1.DownwardAPIVolumeSource"),
            ("emptyDir", "io.k8s.api.core.v1.EmptyDirVolumeSource"),
            ("ephemeral", "io.k8s.api.core.v1.EphemeralVolumeSource"),
            ("fc", "io.k8s.api.core.v1.FCVolumeSource"),
            ("flexVolume", "io.k8s.api.core.v1.FlexVolumeSource"),
            ("flocker", "io.k8s.api.core.v1.FlockerVolumeSource"),
            ("gcePersistentDisk", "io.k8s.api.core.v1.GCEPersistentDiskVolumeSource"),
            ("gitRepo", "io.k8s.api.core.v1.GitRepoVolumeSource"),
            ("glusterfs", "io.k8s.api.core.v1.GlusterfsVolumeSource"),
            ("hostPath", "io.k8s.api.core.v1.HostPathVolumeSource"),
            ("image", "io.k8s.api.core.v1.ImageVolumeSource"),
            ("iscsi", "io.k8s.api.core.v1.ISCSIVolumeSource"),
            ("nfs", "io.k8s.api.core.v1.NFSVolumeSource"),
            ("persistentVolumeClaim", "io.k8s.api.core.v1.PersistentVolumeClaimVolumeSource"),
            ("photonPersistentDisk", "io.k8s.api.core.v1.PhotonPersistentDiskVolumeSource"),
            ("portworxVolume", "io.k8s.api.core.v1.PortworxVolumeSource"),
            ("projected", "io.k8s.api.core.v1.ProjectedVolumeSource"),
            ("quobyte", "io.k8s.api.core.v1.QuobyteVolumeSource"),
            ("rbd", "io.k8s.api.core.v1.RBDVolumeSource"),
            ("scaleIO", "io.k8s.api.core.v1.ScaleIOVolumeSource"),
            ("secret", "io.k8s.api.core.v1.SecretVolumeSource"),
            ("storageos", "io.k8s.api.core.v1.StorageOSVolumeSource"),
            ("vsphereVolume", "io.k8s.api.core.v1.VsphereVirtualDiskVolumeSource"),
        ],
    ),
    (
        "io.k8s.api.core.v1.VolumeProjection",
        &[
            ("clusterTrustBundle", "io.k8s.api.core.v1.ClusterTrustBundleProjection"),
            ("configMap", "io.k8s.api.core.v1.ConfigMapProjection"),
            ("downwardAPI", "io.k8s.api.core.v1.DownwardAPIProjection"),
            ("podCertificate", "io.k8s.api.core.v1.PodCertificateProjection"),
            ("secret", "io.k8s.api.core.v1.SecretProjection"),
            ("serviceAccountToken", "io.k8s.api.core.v1.ServiceAccountTokenProjection"),
        ],
    ),
    (
        "io.k8s.api.core.v1.WeightedPodAffinityTerm",
        &[("podAffinityTerm", "io.k8s.api.core.v1.PodAffinityTerm")],
    ),
];
