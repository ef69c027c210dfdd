// Package content runs containerd's own suite for content stores, through its own Go client, against the daemon at the
// socket that SUITE_SOCKET names. SUITE_POLICY is the daemon's sharing policy: shared or isolated.
package content

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"os"
	"testing"
	"time"

	"github.com/containerd/containerd"
	"github.com/containerd/containerd/content"
	"github.com/containerd/containerd/content/testsuite"
	"github.com/containerd/containerd/leases"
	"github.com/containerd/containerd/namespaces"
)

// fresh gives each test, and each further context of one, a namespace and a lease of its own.
func fresh(client *containerd.Client) testsuite.ContextWrapper {
	return func(ctx context.Context) (context.Context, func(context.Context) error, error) {
		name := make([]byte, 8)
		if _, err := rand.Read(name); err != nil {
			return nil, nil, err
		}
		ctx = namespaces.WithNamespace(ctx, "suite-"+hex.EncodeToString(name))
		lease, err := client.LeasesService().Create(ctx, leases.WithRandomID(), leases.WithExpiration(time.Hour))
		if err != nil {
			return nil, nil, err
		}
		end := func(ctx context.Context) error { return client.LeasesService().Delete(ctx, lease) }
		return leases.WithLease(ctx, lease.ID), end, nil
	}
}

func TestContent(t *testing.T) {
	client, err := containerd.New(os.Getenv("SUITE_SOCKET"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	wrap := fresh(client)
	// The suite itself calls the wrapper once for each test, and again for a test's second namespace.
	open := func(ctx context.Context, root string) (context.Context, content.Store, func() error, error) {
		none := func() error { return nil }
		return testsuite.SetContextWrapper(ctx, wrap), client.ContentStore(), none, nil
	}
	testsuite.ContentSuite(t, "grpc", open)
	if os.Getenv("SUITE_POLICY") == "isolated" {
		testsuite.ContentCrossNSIsolatedSuite(t, "grpc", open)
	} else {
		testsuite.ContentCrossNSSharedSuite(t, "grpc", open)
	}
}
