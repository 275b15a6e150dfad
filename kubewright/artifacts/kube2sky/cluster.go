package main

import (
	"context"
	"net/netip"
	"time"

	core "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// cluster is what the API says of Services and EndpointSlices. Pods are not read: the names of pods with a hostname and a
// subdomain are in EndpointSlices.
type cluster struct {
	services, slices cache.SharedIndexInformer
	changed          chan struct{}
}

func watchCluster(ctx context.Context, client kubernetes.Interface, seen *metrics) (*cluster, error) {
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTransform(trimmed))
	c := &cluster{
		services: factory.Core().V1().Services().Informer(),
		slices:   factory.Discovery().V1().EndpointSlices().Informer(),
		changed:  make(chan struct{}, 1),
	}
	handler := cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { c.notify() },
		UpdateFunc: func(_, _ any) { c.notify() },
		DeleteFunc: func(any) { c.notify() },
	}
	for _, informer := range []cache.SharedIndexInformer{c.services, c.slices} {
		if _, err := informer.AddEventHandler(handler); err != nil {
			return nil, err
		}
		if err := informer.SetWatchErrorHandlerWithContext(func(ctx context.Context, r *cache.Reflector, err error) {
			seen.apiFailures.Add(1)
			cache.DefaultWatchErrorHandler(ctx, r, err)
		}); err != nil {
			return nil, err
		}
	}
	factory.Start(ctx.Done())
	return c, nil
}

func (c *cluster) notify() {
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

func (c *cluster) synced() bool { return c.services.HasSynced() && c.slices.HasSynced() }

func (c *cluster) wait(ctx context.Context) bool {
	return cache.WaitForCacheSync(ctx.Done(), c.synced)
}

// trimmed drops what DNS does not need, to save memory.
func trimmed(object any) (any, error) {
	switch o := object.(type) {
	case *core.Service:
		o.ObjectMeta = kept(o.ObjectMeta, nil)
		o.Status = core.ServiceStatus{}
		o.Spec.Selector = nil
	case *discovery.EndpointSlice:
		name := o.Labels[discovery.LabelServiceName]
		o.ObjectMeta = kept(o.ObjectMeta, map[string]string{discovery.LabelServiceName: name})
		for i := range o.Endpoints {
			e := &o.Endpoints[i]
			*e = discovery.Endpoint{Addresses: e.Addresses, Hostname: e.Hostname, Conditions: e.Conditions}
		}
	}
	return object, nil
}

func kept(o meta.ObjectMeta, labels map[string]string) meta.ObjectMeta {
	return meta.ObjectMeta{Name: o.Name, Namespace: o.Namespace, UID: o.UID, ResourceVersion: o.ResourceVersion, Labels: labels}
}

// names gives the Services and the ready endpoints.
func (c *cluster) names() ([]service, []slice) {
	var services []service
	for _, object := range c.services.GetStore().List() {
		services = append(services, serviceOf(object.(*core.Service)))
	}
	var slices []slice
	for _, object := range c.slices.GetStore().List() {
		if s, ok := sliceOf(object.(*discovery.EndpointSlice)); ok {
			slices = append(slices, s)
		}
	}
	return services, slices
}

func serviceOf(o *core.Service) service {
	s := service{Namespace: o.Namespace, Name: o.Name}
	if o.Spec.Type == core.ServiceTypeExternalName {
		s.ExternalName = o.Spec.ExternalName
		return s
	}
	s.Headless = o.Spec.ClusterIP == core.ClusterIPNone
	for _, ip := range o.Spec.ClusterIPs {
		if ip != core.ClusterIPNone && ip != "" {
			s.IPs = append(s.IPs, ip)
		}
	}
	for _, p := range o.Spec.Ports {
		s.Ports = append(s.Ports, port{Name: p.Name, Protocol: string(p.Protocol), Number: int(p.Port)})
	}
	return s
}

// sliceOf leaves out endpoints that are not ready: the endpoint controller calls all of them ready where the Service has
// publishNotReadyAddresses.
func sliceOf(o *discovery.EndpointSlice) (slice, bool) {
	s := slice{Namespace: o.Namespace, Name: o.Name, Service: o.Labels[discovery.LabelServiceName]}
	if s.Service == "" || o.AddressType == discovery.AddressTypeFQDN {
		return s, false
	}
	for _, p := range o.Ports {
		one := port{Protocol: string(core.ProtocolTCP), Number: noPort}
		if p.Name != nil {
			one.Name = *p.Name
		}
		if p.Protocol != nil {
			one.Protocol = string(*p.Protocol)
		}
		if p.Port != nil {
			one.Number = int(*p.Port)
		}
		s.Ports = append(s.Ports, one)
	}
	for _, e := range o.Endpoints {
		if e.Conditions.Ready != nil && !*e.Conditions.Ready {
			continue
		}
		one := endpoint{}
		if e.Hostname != nil {
			one.Hostname = *e.Hostname
		}
		for _, address := range e.Addresses {
			if _, err := netip.ParseAddr(address); err == nil {
				one.Addresses = append(one.Addresses, address)
			}
		}
		s.Endpoints = append(s.Endpoints, one)
	}
	return s, true
}

const settle = 50 * time.Millisecond // changes come in groups
