// Command check-manifests reads manifests on stdin and reports errors that Kubernetes would refuse, and errors that would
// appear only when the pods run.
//
// Every object is decoded strictly into the type of Kubernetes (or of the operator that owns it), so that a misspelled or
// misplaced field is an error. Pods must meet the restricted pod security standard, as checked by the
// evaluator of the admission controller of Kubernetes. Every reference to another object in the manifests must be valid.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"

	certmanager "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"
)

func main() {
	objects, err := read(os.Stdin)
	if err != nil {
		fmt.Fprintln(os.Stderr, "check-manifests:", err)
		os.Exit(1)
	}
	problems := check(objects)
	for _, problem := range problems {
		fmt.Fprintln(os.Stderr, "check-manifests:", problem)
	}
	if len(problems) > 0 {
		os.Exit(1)
	}
	fmt.Printf("%d objects are valid\n", len(objects))
}

// read decodes every document, or returns an error for the first invalid one.
func read(input io.Reader) ([]runtime.Object, error) {
	known := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		scheme.AddToScheme, monitoring.AddToScheme, certmanager.AddToScheme,
	} {
		if err := add(known); err != nil {
			return nil, err
		}
	}
	decoder := serializer.NewCodecFactory(known, serializer.EnableStrict).UniversalDeserializer()
	documents := utilyaml.NewYAMLReader(bufio.NewReader(input))
	var objects []runtime.Object
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if blank(document) {
			continue
		}
		object, _, err := decoder.Decode(document, nil, nil)
		if err != nil {
			return nil, fmt.Errorf("document %d: %w", len(objects)+1, err)
		}
		objects = append(objects, object)
	}
	if len(objects) == 0 {
		return nil, errors.New("stdin contains no manifest")
	}
	return objects, nil
}

// blank reports whether a document is empty: the output of a template that renders nothing.
func blank(document []byte) bool {
	comment := false
	for _, c := range document {
		switch {
		case c == '#':
			comment = true
		case c == '\n':
			comment = false
		case !comment && c != ' ' && c != '\r' && c != '-':
			return false
		}
	}
	return true
}
