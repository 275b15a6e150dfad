// kube2sky writes the names of a cluster to etcd, as SkyDNS' messages: Services and EndpointSlices become A, AAAA, SRV, CNAME
// and PTR records. CoreDNS' etcd plugin serves them.
package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	etcd "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

var version = "unknown"

// Another instance writes at most about ten seconds after this one is gone.
const (
	leaseDuration = 8 * time.Second
	renewDeadline = 5 * time.Second
	retryPeriod   = time.Second
	memory        = 64 << 20
)

type options struct {
	kubeconfig, endpoints, ca, cert, key, domain, prefix, listen, id, namespace, lease string
}

func main() {
	var o options
	flag.StringVar(&o.kubeconfig, "kubeconfig", "", "file that says how to reach the API")
	flag.StringVar(&o.endpoints, "etcd-endpoints", "", "client URLs of etcd's members, separated by commas")
	flag.StringVar(&o.ca, "etcd-cafile", "", "certificates that etcd's are verified with")
	flag.StringVar(&o.cert, "etcd-certfile", "", "client certificate for etcd")
	flag.StringVar(&o.key, "etcd-keyfile", "", "its key")
	flag.StringVar(&o.domain, "domain", "cluster.local", "DNS domain of the cluster")
	flag.StringVar(&o.prefix, "prefix", "/skydns", "key below which the records lie")
	flag.StringVar(&o.listen, "listen", "127.0.0.1:10253", "address of /healthz, /readyz and /metrics")
	flag.StringVar(&o.id, "id", "", "name of this instance, such as its node's; default: the host's")
	flag.StringVar(&o.namespace, "lease-namespace", "kube-system", "namespace of the lease")
	flag.StringVar(&o.lease, "lease-name", "kube2sky", "name of the lease: its holder writes")
	said := flag.Bool("version", false, "print the version")
	flag.Parse()
	if *said {
		fmt.Println("kube2sky", version)
		return
	}
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{ReplaceAttr: withoutTime})))
	debug.SetMemoryLimit(memory)
	debug.SetGCPercent(50)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, o); err != nil && ctx.Err() == nil {
		slog.Error("ends", "error", err)
		os.Exit(1)
	}
}

// The journal has its own time.
func withoutTime(_ []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}

func run(ctx context.Context, o options) error {
	if o.kubeconfig == "" || o.endpoints == "" || o.domain == "" {
		return errors.New("--kubeconfig, --etcd-endpoints and --domain are needed")
	}
	id, err := identity(o.id)
	if err != nil {
		return err
	}
	records, err := connect(o)
	if err != nil {
		return err
	}
	defer records.Close()
	config, err := clientcmd.BuildConfigFromFlags("", o.kubeconfig)
	if err != nil {
		return err
	}
	config.UserAgent = "kube2sky/" + version
	config.ContentType = "application/vnd.kubernetes.protobuf"
	config.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	api, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	election := rest.CopyConfig(config)
	election.Timeout = renewDeadline / 2
	leases, err := kubernetes.NewForConfig(election)
	if err != nil {
		return err
	}

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	seen := &metrics{}
	names, err := watchCluster(ctx, api, seen)
	if err != nil {
		return err
	}
	lease := &observed{leases: leases.CoordinationV1().Leases(o.namespace), name: o.lease}
	go func() { cancel(serve(o.listen, records, o.prefix, names, seen, lease.renewing)) }()
	if !names.wait(ctx) {
		return context.Cause(ctx)
	}
	slog.Info("read the API", "id", id)

	leads := func(ctx context.Context) (bool, error) {
		holder, _, err := lease.get(ctx)
		return holder == id, err
	}
	finished := make(chan struct{})
	writes := func(ctx context.Context) {
		defer close(finished)
		seen.leader.Store(1)
		w := &writer{client: records, prefix: strings.TrimSuffix(o.prefix, "/"), id: id, seen: seen}
		if err := w.follow(ctx, names, o.domain, leads); err != nil && ctx.Err() == nil {
			cancel(err)
		}
	}
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: &resourcelock.LeaseLock{
			LeaseMeta:  meta.ObjectMeta{Namespace: o.namespace, Name: o.lease},
			Client:     leases.CoordinationV1(),
			LockConfig: resourcelock.ResourceLockConfig{Identity: id},
		},
		LeaseDuration:   leaseDuration,
		RenewDeadline:   renewDeadline,
		RetryPeriod:     retryPeriod,
		ReleaseOnCancel: true,
		Name:            o.lease,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: writes,
			OnStoppedLeading: func() { cancel(errors.New("no longer the holder of the lease")) },
		},
	})
	if err != nil {
		return err
	}
	elector.Run(ctx)
	if seen.leader.Load() == 1 {
		select {
		case <-finished:
		case <-time.After(timeout):
		}
	}
	return context.Cause(ctx)
}

// identity is another one at each start, so that a restarted instance is not taken for the one before.
func identity(name string) (string, error) {
	if name == "" {
		var err error
		if name, err = os.Hostname(); err != nil {
			return "", err
		}
	}
	var random [4]byte
	if _, err := rand.Read(random[:]); err != nil {
		return "", err
	}
	return name + "_" + hex.EncodeToString(random[:]), nil
}

func connect(o options) (*etcd.Client, error) {
	config := etcd.Config{
		Endpoints:            strings.Split(o.endpoints, ","),
		DialTimeout:          timeout,
		DialKeepAliveTime:    5 * time.Second,
		DialKeepAliveTimeout: 3 * time.Second,
		Logger:               zap.NewNop(),
	}
	if o.ca != "" {
		pem, err := os.ReadFile(o.ca)
		if err != nil {
			return nil, err
		}
		trusted := x509.NewCertPool()
		if !trusted.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s: has no certificate", o.ca)
		}
		pair, err := tls.LoadX509KeyPair(o.cert, o.key)
		if err != nil {
			return nil, err
		}
		config.TLS = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: trusted, Certificates: []tls.Certificate{pair}}
	}
	return etcd.New(config)
}
