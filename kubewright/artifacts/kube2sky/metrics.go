package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	etcd "go.etcd.io/etcd/client/v3"
)

// metrics are what /metrics says, in Prometheus' text format.
type metrics struct {
	leader, services, records, pending, conflicts atomic.Int64
	writes, deletes, failures, apiFailures        atomic.Int64
	lastSync, lastTook                            atomic.Int64 // Unix milliseconds, microseconds
	behind                                        atomic.Bool  // the last synchronisation failed
}

func (m *metrics) synced(took time.Duration) {
	m.lastSync.Store(time.Now().UnixMilli())
	m.lastTook.Store(took.Microseconds())
}

func (m *metrics) text() string {
	var out bytes.Buffer
	add := func(name, kind, help string, value float64) {
		number := strconv.FormatFloat(value, 'f', -1, 64)
		fmt.Fprintf(&out, "# HELP kube2sky_%[1]s %[2]s\n# TYPE kube2sky_%[1]s %[3]s\nkube2sky_%[1]s %[4]s\n", name, help, kind, number)
	}
	gauge, counter := "gauge", "counter"
	add("leader", gauge, "1 on the instance that writes.", float64(m.leader.Load()))
	add("services", gauge, "Services at the last synchronisation.", float64(m.services.Load()))
	add("records", gauge, "Records of kube2sky in etcd.", float64(m.records.Load()))
	add("pending_changes", gauge, "Records that are to be written or deleted.", float64(m.pending.Load()))
	add("conflicts", gauge, "Names that are not written because their keys belong to someone else.", float64(m.conflicts.Load()))
	add("writes_total", counter, "Records written.", float64(m.writes.Load()))
	add("deletes_total", counter, "Records deleted.", float64(m.deletes.Load()))
	add("failures_total", counter, "Synchronisations that failed.", float64(m.failures.Load()))
	add("watch_failures_total", counter, "Failed lists and watches of the API.", float64(m.apiFailures.Load()))
	add("last_sync_timestamp_seconds", gauge, "When etcd last had every name.", float64(m.lastSync.Load())/1e3)
	add("last_sync_duration_seconds", gauge, "Duration of the last synchronisation.", float64(m.lastTook.Load())/1e6)
	add("resident_memory_bytes", gauge, "Resident memory of the process.", float64(resident()))
	return out.String()
}

func resident() int64 {
	text, err := os.ReadFile("/proc/self/statm")
	fields := strings.Fields(string(text))
	if err != nil || len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(fields[1], 10, 64)
	return pages * int64(os.Getpagesize())
}

func serve(
	listen string, client *etcd.Client, prefix string, c *cluster, seen *metrics, holder func(context.Context) (string, error),
) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), 3*time.Second)
		defer cancel()
		if !c.synced() {
			http.Error(w, "the API's Services and EndpointSlices have not been read yet", http.StatusServiceUnavailable)
		} else if seen.behind.Load() {
			http.Error(w, "this instance can't write names to etcd", http.StatusServiceUnavailable)
		} else if err := isReady(ctx, client, prefix, holder); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		} else {
			fmt.Fprint(w, "ok")
		}
	})
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		fmt.Fprint(w, seen.text())
	})
	server := &http.Server{Addr: listen, Handler: mux, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second}
	return server.ListenAndServe()
}
