// Command kubectl has the commands of the client of Kubernetes that the documentation uses without a cluster.
package main

import (
	"os"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/component-base/cli"
	"k8s.io/kubectl/pkg/cmd/create"
	"k8s.io/kubectl/pkg/cmd/util"
)

func main() {
	root := &cobra.Command{Use: "kubectl"}
	flags := genericclioptions.NewConfigFlags(true)
	flags.AddFlags(root.PersistentFlags())
	streams := genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
	root.AddCommand(create.NewCmdCreate(util.NewFactory(flags), streams))
	if err := cli.RunNoErrOutput(root); err != nil {
		util.CheckErr(err)
	}
}
