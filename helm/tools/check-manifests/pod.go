package main

import (
	"path"
	"regexp"
	"strings"

	core "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/pod-security-admission/api"
	podsecurity "k8s.io/pod-security-admission/policy"
)

// Matches passwords and tokens in places that are not secret.
var secretive = regexp.MustCompile(`(?i)(postgres(ql)?://[^/\s]*:[^/\s]*@|password=|secret-token:|retool_[0-9a-z]{8})`)

// pod checks the restricted pod security standard, and that everything that a container refers to exists.
func (c *checker) pod(template *core.PodTemplateSpec) {
	pod := &template.Spec
	for _, problem := range metav1validation.ValidateLabels(template.Labels, field.NewPath("pod labels")) {
		c.wrong("%v", problem)
	}
	c.restricted(&template.ObjectMeta, pod)
	if pod.AutomountServiceAccountToken == nil || *pod.AutomountServiceAccountToken {
		c.wrong("mounts the token of its service account")
	}
	volumes := map[string]int{}
	for _, volume := range pod.Volumes {
		if _, twice := volumes[volume.Name]; twice {
			c.wrong("volume %s is defined twice", volume.Name)
		}
		volumes[volume.Name] = 0
	}
	ports := map[int32]string{}
	for _, container := range append(append([]core.Container{}, pod.InitContainers...), pod.Containers...) {
		c.container(&container, volumes, ports)
	}
	for name, mounts := range volumes {
		if mounts == 0 {
			c.wrong("volume %s is not mounted", name)
		}
	}
	for _, spread := range pod.TopologySpreadConstraints {
		c.selects("topology spread", spread.LabelSelector, template.Labels)
	}
}

// restricted uses the evaluator of the admission controller of Kubernetes.
func (c *checker) restricted(metadata *metav1.ObjectMeta, pod *core.PodSpec) {
	evaluator, err := podsecurity.NewEvaluator(podsecurity.DefaultChecks(), nil)
	if err != nil {
		c.wrong("cannot check the pod security standard: %v", err)
		return
	}
	level := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	result := podsecurity.AggregateCheckResults(evaluator.EvaluatePod(level, metadata, pod))
	if !result.Allowed {
		c.wrong("violates the restricted pod security standard: %s", result.ForbiddenDetail())
	}
}

func (c *checker) container(container *core.Container, volumes map[string]int, ports map[int32]string) {
	name := container.Name
	for _, problem := range validation.IsDNS1123Label(name) {
		c.wrong("container %s: name: %s", name, problem)
	}
	security := container.SecurityContext
	if security == nil || security.ReadOnlyRootFilesystem == nil || !*security.ReadOnlyRootFilesystem {
		c.wrong("container %s can write to its root file system", name)
	}
	if container.Resources.Requests.Cpu().IsZero() || container.Resources.Limits.Memory().IsZero() {
		c.wrong("container %s lacks a CPU request or a memory limit", name)
	}
	for _, argument := range append(append([]string{}, container.Command...), container.Args...) {
		if secretive.MatchString(argument) {
			c.wrong("container %s has a secret in its arguments", name)
		}
	}
	variables := map[string]bool{}
	for _, variable := range container.Env {
		if variables[variable.Name] {
			c.wrong("container %s sets %s twice", name, variable.Name)
		}
		variables[variable.Name] = true
		if secretive.MatchString(variable.Value) {
			c.wrong("container %s has a secret in the value of %s", name, variable.Name)
		}
	}
	for _, port := range container.Ports {
		for _, problem := range validation.IsValidPortName(port.Name) {
			c.wrong("container %s: port %s: %s", name, port.Name, problem)
		}
		if other, taken := ports[port.ContainerPort]; taken {
			c.wrong("containers %s and %s both use port %d", other, name, port.ContainerPort)
		}
		ports[port.ContainerPort] = name
	}
	var places []string
	for _, mount := range container.VolumeMounts {
		if _, there := volumes[mount.Name]; !there {
			c.wrong("container %s mounts %s, which is not a volume", name, mount.Name)
			continue
		}
		volumes[mount.Name]++
		places = append(places, mount.MountPath)
	}
	if name == "baton-retool" {
		c.connector(container, places)
	}
}

// connector makes the checks that apply only to the container of the connector.
func (c *checker) connector(container *core.Container, places []string) {
	for kind, probe := range map[string]*core.Probe{
		"startup": container.StartupProbe, "liveness": container.LivenessProbe, "readiness": container.ReadinessProbe,
	} {
		switch {
		case probe == nil:
			c.wrong("there is no %s probe", kind)
		case probe.HTTPGet != nil:
			only := &core.PodSpec{Containers: []core.Container{*container}}
			if portNamed(only, probe.HTTPGet.Port.StrVal) == 0 {
				c.wrong("the %s probe uses a port that does not exist", kind)
			}
		}
	}
	// A file that a variable names must be in a mounted volume.
	for _, variable := range container.Env {
		file := strings.TrimPrefix(variable.Value, "unix:")
		if !strings.HasPrefix(file, "/") {
			continue
		}
		found := false
		for _, place := range places {
			found = found || place == file || strings.HasPrefix(path.Clean(file), path.Clean(place)+"/")
		}
		if !found {
			c.wrong("%s names %s, which is not in a mounted volume", variable.Name, file)
		}
	}
}
