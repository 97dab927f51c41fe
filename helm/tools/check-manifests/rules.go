package main

import (
	"fmt"
	"sort"
	"strings"

	certmanager "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/prometheus/prometheus/promql/parser"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// checker collects errors, object by object.
type checker struct {
	problems []string
	where    string
	// The pod templates of the manifests.
	pods []core.PodTemplateSpec
	// Objects by kind and name.
	named map[string]runtime.Object
}

func (c *checker) wrong(format string, arguments ...any) {
	c.problems = append(c.problems, c.where+": "+fmt.Sprintf(format, arguments...))
}

func check(objects []runtime.Object) []string {
	c := &checker{named: map[string]runtime.Object{}}
	for _, object := range objects {
		c.metadata(object)
		if deployment, ok := object.(*apps.Deployment); ok {
			c.pods = append(c.pods, deployment.Spec.Template)
		}
	}
	for _, object := range objects {
		c.where = describe(object)
		c.object(object)
	}
	sort.Strings(c.problems)
	return c.problems
}

func describe(object runtime.Object) string {
	kind := object.GetObjectKind().GroupVersionKind().Kind
	if accessor, err := meta.Accessor(object); err == nil {
		return kind + " " + accessor.GetName()
	}
	return kind
}

// metadata checks names and labels, and that no object is defined twice.
func (c *checker) metadata(object runtime.Object) {
	c.where = describe(object)
	accessor, err := meta.Accessor(object)
	if err != nil {
		c.wrong("has no metadata: %v", err)
		return
	}
	for _, problem := range validation.IsDNS1123Subdomain(accessor.GetName()) {
		c.wrong("name: %s", problem)
	}
	for _, problem := range metav1validation.ValidateLabels(accessor.GetLabels(), field.NewPath("labels")) {
		c.wrong("%v", problem)
	}
	if _, twice := c.named[c.where]; twice {
		c.wrong("is defined twice")
	}
	c.named[c.where] = object
}

func (c *checker) object(object runtime.Object) {
	switch o := object.(type) {
	case *apps.Deployment:
		c.selects("selector", o.Spec.Selector, o.Spec.Template.Labels)
		c.pod(&o.Spec.Template)
	case *core.Service:
		if problems := validation.IsDNS1035Label(o.Name); len(problems) > 0 {
			c.wrong("name: %s", problems[0])
		}
		c.service(o)
	case *policy.PodDisruptionBudget:
		if (o.Spec.MinAvailable == nil) == (o.Spec.MaxUnavailable == nil) {
			c.wrong("must have either minAvailable or maxUnavailable")
		}
		c.selectsPods(o.Spec.Selector)
	case *networking.NetworkPolicy:
		c.selectsPods(&o.Spec.PodSelector)
	case *core.ServiceAccount:
		if o.AutomountServiceAccountToken == nil || *o.AutomountServiceAccountToken {
			c.wrong("mounts its token")
		}
	case *monitoring.ServiceMonitor:
		c.monitor(o)
	case *monitoring.PrometheusRule:
		for _, group := range o.Spec.Groups {
			for _, rule := range group.Rules {
				if !strings.HasPrefix(rule.Annotations["runbook_url"], "https://") {
					c.wrong("alert %s has no runbook_url", rule.Alert)
				}
				expression := rule.Expr.String()
				if _, err := parser.NewParser(parser.Options{}).ParseExpr(expression); err != nil {
					c.wrong("alert %s: %v", rule.Alert, err)
				}
				if strings.Contains(expression, `job=~".+"`) {
					c.wrong("alert %s selects every release", rule.Alert)
				}
			}
		}
	case *certmanager.Certificate:
		if o.Spec.IssuerRef.Name == "" || o.Spec.SecretName == "" || len(o.Spec.DNSNames) == 0 {
			c.wrong("must have an issuer, a Secret and DNS names")
		}
	case *core.Secret, *core.ConfigMap:
	default:
		c.wrong("is of an unexpected kind")
	}
}

// selects checks that a selector is not empty and matches these labels.
func (c *checker) selects(what string, selector *metav1.LabelSelector, of map[string]string) {
	parsed, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil || parsed.Empty() {
		c.wrong("%s selects everything or nothing", what)
	} else if !parsed.Matches(labels.Set(of)) {
		c.wrong("%s %q does not select its own pods", what, parsed)
	}
}

func (c *checker) selectsPods(selector *metav1.LabelSelector) {
	parsed, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil || parsed.Empty() || len(c.picked(parsed)) == 0 {
		c.wrong("its selector selects no pod")
	}
}

func (c *checker) picked(selector labels.Selector) []core.PodTemplateSpec {
	var picked []core.PodTemplateSpec
	for _, pod := range c.pods {
		if selector.Matches(labels.Set(pod.Labels)) {
			picked = append(picked, pod)
		}
	}
	return picked
}

// service checks that the target ports of a Service exist in the selected pods.
func (c *checker) service(service *core.Service) {
	pods := c.picked(labels.SelectorFromSet(service.Spec.Selector))
	if len(service.Spec.Selector) == 0 || len(pods) == 0 {
		c.wrong("its selector selects no pod")
		return
	}
	for _, port := range service.Spec.Ports {
		for _, pod := range pods {
			if port.TargetPort.Type == intstr.String && portNamed(&pod.Spec, port.TargetPort.StrVal) == 0 {
				c.wrong("no container has a port named %s", port.TargetPort.StrVal)
			}
		}
	}
}

func portNamed(pod *core.PodSpec, name string) int32 {
	for _, container := range append(append([]core.Container{}, pod.InitContainers...), pod.Containers...) {
		for _, port := range container.Ports {
			if port.Name == name {
				return port.ContainerPort
			}
		}
	}
	return 0
}

// monitor checks that exactly one port of the Services matches a ServiceMonitor.
func (c *checker) monitor(monitor *monitoring.ServiceMonitor) {
	selector, err := metav1.LabelSelectorAsSelector(&monitor.Spec.Selector)
	if err != nil {
		c.wrong("%v", err)
		return
	}
	found := 0
	for _, object := range c.named {
		service, ok := object.(*core.Service)
		if !ok || !selector.Matches(labels.Set(service.Labels)) {
			continue
		}
		for _, endpoint := range monitor.Spec.Endpoints {
			for _, port := range service.Spec.Ports {
				if port.Name == endpoint.Port {
					found++
				}
			}
		}
	}
	if found != 1 {
		c.wrong("selects %d ports for metrics, not 1", found)
	}
}
