package main

import (
	"context"
	"errors"
	"sync"
	"time"

	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	coordination "k8s.io/client-go/kubernetes/typed/coordination/v1"
)

// observed is the lease as the API has it now.
type observed struct {
	leases coordination.LeaseInterface
	name   string

	lock  sync.Mutex
	first time.Time // when the lease that was seen first was renewed
	live  bool      // it was renewed since: its holder runs
}

func (o *observed) get(ctx context.Context) (holder string, renewed time.Time, err error) {
	lease, err := o.leases.Get(ctx, o.name, meta.GetOptions{})
	if err != nil {
		return "", time.Time{}, err
	}
	if lease.Spec.HolderIdentity != nil {
		holder = *lease.Spec.HolderIdentity
	}
	if lease.Spec.RenewTime != nil {
		renewed = lease.Spec.RenewTime.Time
	}
	return holder, renewed, nil
}

// renewing gives the holder. An error until the lease was renewed once since this process first saw it: its holder may have
// been killed. No clocks of two machines are compared.
func (o *observed) renewing(ctx context.Context) (string, error) {
	holder, renewed, err := o.get(ctx)
	if err != nil {
		return "", err
	}
	o.lock.Lock()
	defer o.lock.Unlock()
	switch {
	case o.first.IsZero():
		o.first = renewed
	case !renewed.Equal(o.first):
		o.live = true
	}
	if holder == "" || !o.live {
		return "", errors.New("no instance is known to run: the lease was not renewed yet")
	}
	return holder, nil
}
