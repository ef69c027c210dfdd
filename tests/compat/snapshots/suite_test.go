// Package snapshots runs containerd's own suite for snapshotters, through its own Go client, against the daemon at the socket
// that SUITE_SOCKET names, and its snapshotter that SUITE_SNAPSHOTTER names.
package snapshots

import (
	"context"
	"os"
	"testing"

	"github.com/containerd/containerd"
	"github.com/containerd/containerd/snapshots"
	"github.com/containerd/containerd/snapshots/testsuite"
)

func TestSnapshots(t *testing.T) {
	name := os.Getenv("SUITE_SNAPSHOTTER")
	open := func(ctx context.Context, root string) (snapshots.Snapshotter, func() error, error) {
		client, err := containerd.New(os.Getenv("SUITE_SOCKET"))
		if err != nil {
			return nil, nil, err
		}
		return client.SnapshotService(name), client.Close, nil
	}
	testsuite.SnapshotterSuite(t, name, open)
}
