// Command agent syncs a connector that listens on a port into a .c1z file with the SDK's own syncer.
//
// The tests use it to resume syncs that baton-retool left unfinished, and to leave unfinished syncs that baton-retool
// resumes. The benchmark uses it for the comparison.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/conductorone/baton-sdk/pkg/connectorclient"
	"github.com/conductorone/baton-sdk/pkg/dotc1z/c1zstore"
	"github.com/conductorone/baton-sdk/pkg/sync"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// maxAnswer is the maximum size of a response in bytes, as in the SDK's own command line.
const maxAnswer = 4 << 20

// result is the output of the program on stdout.
type result struct {
	Finished bool    `json:"finished"`
	Calls    int64   `json:"calls"`
	Seconds  float64 `json:"seconds"`
}

func main() {
	address := flag.String("address", "", "HOST:PORT of the connector")
	file := flag.String("file", "sync.c1z", "the file to write or to continue")
	engine := flag.String("engine", string(c1zstore.EngineSQLite), "storage engine of a new file: sqlite or pebble")
	workers := flag.Int("workers", 1, "number of parallel workers")
	stopAfter := flag.Int64("stop-after", 0, "cancel the sync after this number of calls; 0 never does")
	skipGrants := flag.Bool("skip-grants", false, "leave grants out")
	flag.Parse()

	outcome, err := run(*address, *file, c1zstore.Engine(*engine), *workers, *stopAfter, *skipGrants)
	if err != nil {
		fmt.Fprintln(os.Stderr, "agent:", err)
		os.Exit(1)
	}
	if err := json.NewEncoder(os.Stdout).Encode(outcome); err != nil {
		fmt.Fprintln(os.Stderr, "agent:", err)
		os.Exit(1)
	}
}

// run syncs once. A sync that stops because of stopAfter is unfinished, but not an error.
func run(address, file string, engine c1zstore.Engine, workers int, stopAfter int64, skipGrants bool) (result, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()

	var calls atomic.Int64
	count := func(
		ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption,
	) error {
		if n := calls.Add(1); stopAfter > 0 && n > stopAfter {
			cancel()
		}
		return invoke(ctx, method, req, reply, cc, opts...)
	}
	conn, err := grpc.NewClient(
		address,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithUnaryInterceptor(count),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAnswer)),
	)
	if err != nil {
		return result{}, err
	}
	defer conn.Close()

	start := time.Now()
	syncer, err := sync.NewSyncer(
		ctx,
		connectorclient.NewConnectorClient(ctx, conn),
		sync.WithC1ZPath(file),
		sync.WithStorageEngine(engine),
		sync.WithWorkerCount(workers),
		sync.WithSkipGrants(skipGrants),
	)
	if err != nil {
		return result{}, err
	}
	err = syncer.Sync(ctx)
	stopped := errors.Is(ctx.Err(), context.Canceled)
	if err != nil && stopped {
		err = nil
	}
	// The file must be saved even if the context is cancelled.
	err = errors.Join(err, syncer.Close(context.WithoutCancel(ctx)))
	return result{
		Finished: err == nil && !stopped,
		Calls:    calls.Load(),
		Seconds:  time.Since(start).Seconds(),
	}, err
}
