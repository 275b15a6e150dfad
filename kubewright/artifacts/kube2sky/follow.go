package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	etcd "go.etcd.io/etcd/client/v3"
)

const (
	batch    = 60 // writes of one transaction; etcd takes 128 operations, comparisons included
	parallel = 4
	timeout  = 5 * time.Second
	resync   = 2 * time.Minute // a record that someone else changed is put right
)

var errDeposed = errors.New("another instance writes now")

// writer makes etcd's records equal to the wanted ones. Every write compares the fence, so that an instance that is no
// longer the leader, and does not know it yet, writes nothing.
type writer struct {
	client *etcd.Client
	prefix string
	id     string
	seen   *metrics

	fence   int64             // revision of the fence when this instance took it
	have    map[string]string // our records in etcd
	foreign map[string]bool   // keys of others
}

// state is what lies at the fence's key and at that of `ready`. It is below a name that no zone has.
type state struct {
	By     string `json:"by"`
	Holder string `json:"holder"`
	Fence  int64  `json:"fence,omitempty"`
}

func fenceKey(prefix string) string { return prefix + "/" + marker + "/fence" }
func readyKey(prefix string) string { return prefix + "/" + marker + "/ready" }

func encoded(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err) // strings and numbers only
	}
	return string(text)
}

// take takes the fence. `leads` asks the API whether this instance holds the lease: between reading the fence and writing it,
// so that of two leaders in sequence the later one wins.
func (w *writer) take(ctx context.Context, leads func(context.Context) (bool, error)) error {
	for {
		before, err := w.client.Get(ctx, fenceKey(w.prefix))
		if err != nil {
			return err
		}
		var revision int64
		if len(before.Kvs) > 0 {
			revision = before.Kvs[0].ModRevision
		}
		ok, err := leads(ctx)
		if err != nil {
			return err
		}
		if !ok {
			return errDeposed
		}
		done, err := w.client.Txn(ctx).
			If(etcd.Compare(etcd.ModRevision(fenceKey(w.prefix)), "=", revision)).
			Then(etcd.OpPut(fenceKey(w.prefix), encoded(state{By: owner, Holder: w.id})), etcd.OpDelete(readyKey(w.prefix))).
			Commit()
		if err != nil {
			return err
		}
		if done.Succeeded {
			w.fence = done.Header.Revision
			return nil
		}
	}
}

// load reads all records: ours, whoever of us wrote them, and the keys of others.
func (w *writer) load(ctx context.Context) error {
	have, foreign := map[string]string{}, map[string]bool{}
	key, end := w.prefix+"/", etcd.GetPrefixRangeEnd(w.prefix+"/")
	var revision int64
	for {
		options := []etcd.OpOption{etcd.WithRange(end), etcd.WithLimit(2000), etcd.WithRev(revision)}
		page, err := w.client.Get(ctx, key, options...)
		if err != nil {
			return err
		}
		revision = page.Header.Revision
		if len(page.Kvs) > 0 {
			for _, kv := range page.Kvs {
				w.sort(kv, have, foreign)
			}
			key = string(page.Kvs[len(page.Kvs)-1].Key) + "\x00"
		}
		if !page.More {
			break
		}
	}
	w.have, w.foreign = have, foreign
	return nil
}

func (w *writer) sort(kv *mvccpb.KeyValue, have map[string]string, foreign map[string]bool) {
	key := string(kv.Key)
	if key == fenceKey(w.prefix) || key == readyKey(w.prefix) {
		return
	}
	var message struct {
		By string `json:"by"`
	}
	if err := json.Unmarshal(kv.Value, &message); err == nil && message.By == owner {
		have[key] = string(kv.Value)
	} else {
		foreign[key] = true
	}
}

type change struct{ key, value string } // an empty value deletes

// apply makes the records equal to `want`. errDeposed: another instance has the fence.
func (w *writer) apply(ctx context.Context, want map[string]string) error {
	conflicts := 0
	var changes []change
	for key, value := range want {
		switch {
		case w.foreign[key]:
			conflicts++
			slog.Warn("the key belongs to someone else: not written", "key", key)
		case w.have[key] != value:
			changes = append(changes, change{key, value})
		}
	}
	for key := range w.have {
		if _, wanted := want[key]; !wanted {
			changes = append(changes, change{key, ""})
		}
	}
	w.seen.conflicts.Store(int64(conflicts))
	w.seen.pending.Store(int64(len(changes)))
	if err := w.write(ctx, changes); err != nil {
		return err
	}
	w.seen.pending.Store(0)
	w.seen.records.Store(int64(len(w.have)))
	return nil
}

func (w *writer) write(ctx context.Context, changes []change) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var lock sync.Mutex
	var first error
	var group sync.WaitGroup
	slots := make(chan struct{}, parallel)
	for start := 0; start < len(changes); start += batch {
		part := changes[start:min(start+batch, len(changes))]
		slots <- struct{}{}
		group.Add(1)
		go func() {
			defer func() { <-slots; group.Done() }()
			lock.Lock()
			failed := first != nil
			ifs, thens := w.transaction(part)
			lock.Unlock()
			if failed {
				return
			}
			limited, done := context.WithTimeout(ctx, timeout)
			defer done()
			answer, err := w.client.Txn(limited).If(ifs...).Then(thens...).Else(etcd.OpGet(fenceKey(w.prefix))).Commit()
			lock.Lock()
			defer lock.Unlock()
			switch {
			case err != nil:
			case !answer.Succeeded && !w.fenced(answer):
				err = errDeposed
			case !answer.Succeeded:
				err = fmt.Errorf("a key of this batch was written by someone else meanwhile")
			}
			if err != nil {
				if first == nil || errors.Is(err, errDeposed) {
					first = err
				}
				cancel()
				return
			}
			w.took(part)
		}()
	}
	group.Wait()
	return first
}

func (w *writer) transaction(part []change) ([]etcd.Cmp, []etcd.Op) {
	ifs := []etcd.Cmp{etcd.Compare(etcd.ModRevision(fenceKey(w.prefix)), "=", w.fence)}
	var thens []etcd.Op
	for _, c := range part {
		before, ours := w.have[c.key]
		if ours {
			ifs = append(ifs, etcd.Compare(etcd.Value(c.key), "=", before))
		} else {
			ifs = append(ifs, etcd.Compare(etcd.CreateRevision(c.key), "=", 0))
		}
		if c.value == "" {
			thens = append(thens, etcd.OpDelete(c.key))
		} else {
			thens = append(thens, etcd.OpPut(c.key, c.value))
		}
	}
	return ifs, thens
}

func (w *writer) fenced(answer *etcd.TxnResponse) bool {
	kvs := answer.Responses[0].GetResponseRange().Kvs
	return len(kvs) == 1 && kvs[0].ModRevision == w.fence
}

func (w *writer) took(part []change) {
	for _, c := range part {
		if c.value == "" {
			delete(w.have, c.key)
			w.seen.deletes.Add(1)
		} else {
			w.have[c.key] = c.value
			w.seen.writes.Add(1)
		}
	}
}

// announce writes that etcd has every name.
func (w *writer) announce(ctx context.Context) error {
	done, err := w.client.Txn(ctx).
		If(etcd.Compare(etcd.ModRevision(fenceKey(w.prefix)), "=", w.fence)).
		Then(etcd.OpPut(readyKey(w.prefix), encoded(state{By: owner, Holder: w.id, Fence: w.fence}))).
		Commit()
	if err == nil && !done.Succeeded {
		err = errDeposed
	}
	return err
}

// isReady says whether the instance that has the lease has written every name. `holder` gives that instance: what an earlier
// one wrote does not count, since names may have changed while none ran.
func isReady(ctx context.Context, client *etcd.Client, prefix string, holder func(context.Context) (string, error)) error {
	active, err := holder(ctx)
	if err != nil {
		return err
	}
	found, err := client.Txn(ctx).Then(etcd.OpGet(fenceKey(prefix)), etcd.OpGet(readyKey(prefix))).Commit()
	if err != nil {
		return err
	}
	fence, ready := found.Responses[0].GetResponseRange().Kvs, found.Responses[1].GetResponseRange().Kvs
	if len(fence) == 0 {
		return errors.New("no instance has written names yet")
	}
	var said state
	if len(ready) == 0 || json.Unmarshal(ready[0].Value, &said) != nil || said.Fence != fence[0].ModRevision || said.Holder != active {
		return errors.New("the active instance has not written every name yet")
	}
	return nil
}

// follow keeps etcd's records equal to the cluster's names, until the context ends or another instance has the fence.
func (w *writer) follow(ctx context.Context, c *cluster, domain string, leads func(context.Context) (bool, error)) error {
	pause, announced := time.Duration(0), false
	for {
		err := w.once(ctx, c, domain, leads, &announced)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, errDeposed):
			return err
		case err != nil:
			w.seen.failures.Add(1)
			w.seen.behind.Store(true)
			w.have = nil // what etcd has is not known: read it again
			pause = min(max(2*pause, 100*time.Millisecond), 2*time.Second)
			slog.Error("records not written", "error", err, "again_in", pause)
			if !sleep(ctx, pause) {
				return ctx.Err()
			}
			continue
		}
		w.seen.behind.Store(false)
		pause = 0
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-c.changed:
			sleep(ctx, settle)
		case <-time.After(resync):
			w.have = nil
		}
	}
}

func (w *writer) once(
	ctx context.Context, c *cluster, domain string, leads func(context.Context) (bool, error), announced *bool,
) error {
	limited, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if w.fence == 0 {
		if err := w.take(limited, leads); err != nil {
			return err
		}
	}
	if w.have == nil {
		if err := w.load(limited); err != nil {
			return err
		}
	}
	started := time.Now()
	services, slices := c.names()
	if err := w.apply(limited, render(w.prefix, domain, services, slices)); err != nil {
		return err
	}
	w.seen.services.Store(int64(len(services)))
	w.seen.synced(time.Since(started))
	if !*announced {
		if err := w.announce(limited); err != nil {
			return err
		}
		*announced = true
		slog.Info("etcd has every name", "services", len(services), "records", len(w.have))
	}
	return nil
}

func sleep(ctx context.Context, time_ time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(time_):
		return true
	}
}
