// Command check-metrics compares the PromQL of the alert rules and the dashboard with the list of metrics, and the panels
// that pages name with the dashboard:
//
//	check-metrics METRICS.tsv ALERTS.yaml DASHBOARD.json PAGE.md ...
//
// Every expression must parse, use only listed metrics, and match and group only by labels of these metrics. Every listed
// metric must be used. A test of the program compares the list with the served metrics and with
// docs/observability.md.
//
// Pages name a panel by its title in italics after the word "panel", or several titles after the word "panels".
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"sort"
	"strings"

	"github.com/prometheus/prometheus/promql/parser"
	"sigs.k8s.io/yaml"
)

// Labels that Prometheus adds to every series.
var everywhere = []string{"__name__", "job", "instance", "namespace", "pod"}

var variable = regexp.MustCompile(`\[\$__rate_interval\]`)

var (
	named  = regexp.MustCompile(`(?i)\bpanels?((?:(?:,| and| or|, and|, or)? \*[^*]+\*)+)`)
	italic = regexp.MustCompile(`\*([^*]+)\*`)
)

func main() {
	if len(os.Args) < 5 {
		fmt.Fprintln(os.Stderr, "usage: check-metrics METRICS.tsv ALERTS.yaml DASHBOARD.json PAGE.md ...")
		os.Exit(2)
	}
	problems, checked := run(os.Args[1], os.Args[2], os.Args[3])
	wrong, names := checkPages(os.Args[3], os.Args[4:])
	problems = append(problems, wrong...)
	for _, problem := range problems {
		fmt.Fprintln(os.Stderr, "check-metrics:", problem)
	}
	if len(problems) > 0 {
		os.Exit(1)
	}
	fmt.Printf("%d expressions use only existing metrics, and pages name panels %d times\n", checked, names)
}

func run(list, alerts, dashboard string) (problems []string, checked int) {
	metrics, err := readMetrics(list)
	if err != nil {
		return []string{err.Error()}, 0
	}
	rules, err := readAlerts(alerts)
	if err != nil {
		return []string{err.Error()}, 0
	}
	panels, err := readDashboard(dashboard)
	if err != nil {
		return []string{err.Error()}, 0
	}
	used := map[string]bool{}
	for where, expression := range merge(rules, expressions(panels)) {
		checked++
		for _, problem := range check(expression, metrics, used) {
			problems = append(problems, where+": "+problem)
		}
	}
	for name := range metrics {
		if !used[name] {
			problems = append(problems, name+" is used neither in a rule nor on the dashboard")
		}
	}
	sort.Strings(problems)
	return problems, checked
}

// readMetrics reads lines with a name, a type and comma-separated labels.
func readMetrics(file string) (map[string]metric, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	metrics := map[string]metric{}
	for line := range strings.Lines(string(text)) {
		fields := strings.Split(strings.TrimRight(line, "\n"), "\t")
		if strings.HasPrefix(line, "#") {
			continue
		}
		if len(fields) != 3 {
			return nil, fmt.Errorf("%s: %q does not have three fields", file, line)
		}
		metrics[fields[0]] = metric{kind: fields[1], labels: strings.Split(fields[2], ",")}
	}
	return metrics, nil
}

type metric struct {
	kind   string
	labels []string
}

func readAlerts(file string) (map[string]string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var rules struct {
		Groups []struct {
			Rules []struct{ Alert, Expr string }
		}
	}
	if err := yaml.Unmarshal(text, &rules); err != nil {
		return nil, err
	}
	expressions := map[string]string{}
	for _, group := range rules.Groups {
		for _, rule := range group.Rules {
			expressions["alert "+rule.Alert] = rule.Expr
		}
	}
	return expressions, nil
}

// panel is a panel of the dashboard, or a row, which has no targets.
type panel struct {
	Title   string
	Targets []struct{ RefID, Expr string }
}

func readDashboard(file string) ([]panel, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var dashboard struct{ Panels []panel }
	if err := json.Unmarshal(text, &dashboard); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return dashboard.Panels, nil
}

func expressions(panels []panel) map[string]string {
	expressions := map[string]string{}
	for _, panel := range panels {
		for _, target := range panel.Targets {
			expressions[fmt.Sprintf("panel %q %s", panel.Title, target.RefID)] = target.Expr
		}
	}
	return expressions
}

// checkPages returns the panels that pages name and the dashboard does not have, and how often pages name a panel.
func checkPages(dashboard string, pages []string) (problems []string, names int) {
	panels, err := readDashboard(dashboard)
	if err != nil {
		return []string{err.Error()}, 0
	}
	isPanel := func(title string) bool {
		return slices.ContainsFunc(panels, func(one panel) bool { return one.Title == title && len(one.Targets) > 0 })
	}
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			return []string{err.Error()}, 0
		}
		// A line can end within a title.
		line := strings.Join(strings.Fields(string(text)), " ")
		for _, list := range named.FindAllStringSubmatch(line, -1) {
			for _, title := range italic.FindAllStringSubmatch(list[1], -1) {
				names++
				if !isPanel(title[1]) {
					problems = append(problems, fmt.Sprintf("%s: the dashboard has no panel %q", page, title[1]))
				}
			}
		}
	}
	if names == 0 {
		problems = append(problems, "no page names a panel")
	}
	return problems, names
}

func merge(maps ...map[string]string) map[string]string {
	all := map[string]string{}
	for _, one := range maps {
		for key, value := range one {
			all[key] = value
		}
	}
	return all
}

func check(expression string, metrics map[string]metric, used map[string]bool) (problems []string) {
	parsed, err := parser.NewParser(parser.Options{}).ParseExpr(variable.ReplaceAllString(expression, "[5m]"))
	if err != nil {
		return []string{err.Error()}
	}
	var known []string
	var asked []string
	parser.Inspect(parsed, func(node parser.Node, _ []parser.Node) error {
		switch n := node.(type) {
		case *parser.VectorSelector:
			name, labels, problem := find(n.Name, metrics)
			if problem != "" {
				problems = append(problems, problem)
				return nil
			}
			used[name] = true
			known = append(known, labels...)
			for _, matcher := range n.LabelMatchers {
				if !slices.Contains(labels, matcher.Name) && !slices.Contains(everywhere, matcher.Name) {
					problems = append(problems, fmt.Sprintf("%s has no label %s", n.Name, matcher.Name))
				}
			}
		case *parser.AggregateExpr:
			if !n.Without {
				asked = append(asked, n.Grouping...)
			}
		}
		return nil
	})
	for _, label := range asked {
		if !slices.Contains(known, label) && !slices.Contains(everywhere, label) {
			problems = append(problems, "groups by "+label+", which is a label of none of its metrics")
		}
	}
	return problems
}

// find looks up a metric. The parts of a histogram have the name of the histogram in the list.
func find(name string, metrics map[string]metric) (string, []string, string) {
	if m, there := metrics[name]; there && m.kind != "histogram" {
		return name, m.labels, ""
	}
	for _, part := range []string{"_bucket", "_sum", "_count"} {
		whole, cut := strings.CutSuffix(name, part)
		if m, there := metrics[whole]; cut && there && m.kind == "histogram" {
			labels := m.labels
			if part == "_bucket" {
				labels = append(slices.Clone(labels), "le")
			}
			return whole, labels, ""
		}
	}
	return "", nil, "there is no metric " + name
}
