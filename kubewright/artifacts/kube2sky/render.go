package main

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"net/netip"
	"sort"
	"strconv"
	"strings"
)

// The layout. CoreDNS' etcd plugin answers a name with all records whose keys lie below the name's key, and reads the
// name's own key only where there are none. For CNAME and PTR it reads the own key alone. Of records with a group it
// keeps those of the group with the shortest key. [coredns 1.15: plugin/etcd/etcd.go, plugin/backend_lookup.go,
// plugin/etcd/msg/service.go]
//
//	BASE/NS/SVC                        {}: the name exists, so that a question for its CNAME is no NXDOMAIN
//	BASE/NS/SVC                        the CNAME of an ExternalName
//	BASE/NS/SVC/LEAF                   a cluster IP with an unnamed port
//	BASE/NS/SVC/_tcp/PORT/LEAF         a cluster IP with a named port
//	BASE/NS/SVC/HOST/LEAF              an endpoint of a headless Service, once for each of its ports
//	BASE/NS/SVC/_tcp/PORT/LEAF         the SRV record of a headless endpoint, in a group that SVC itself does not show
//	BASE/NS/_kube2sky                  a record without an answer, in a group that hides the Services from NS itself
//	/skydns/arpa/in-addr/10/96/0/1     PTR
//
// BASE is the key of svc.DOMAIN, and that of DOMAIN for the short names.

const (
	owner    = "kube2sky"
	marker   = "_kube2sky"
	groupOf  = "service" // what a Service's own name shows
	groupSrv = "srv"     // SRV records that the Service's own name has already
	groupTop = "level"   // hides what lies below a namespace
	ttl      = 3         // seconds; CoreDNS' cache keeps as long
	noPort   = -1        // CoreDNS makes no SRV record of it
)

// Service and EndpointSlice, as far as DNS needs them.
type service struct {
	Namespace, Name string
	ExternalName    string
	Headless        bool
	IPs             []string
	Ports           []port
}

type port struct {
	Name, Protocol string
	Number         int
}

type slice struct {
	Namespace, Name, Service string
	Ports                    []port
	Endpoints                []endpoint
}

type endpoint struct {
	Hostname  string
	Addresses []string
}

// record is SkyDNS' message, and `by`, which CoreDNS ignores: a record without it belongs to someone else.
type record struct {
	Host        string `json:"host,omitempty"`
	Port        int    `json:"port,omitempty"`
	TTL         int    `json:"ttl,omitempty"`
	TargetStrip int    `json:"targetstrip,omitempty"`
	Group       string `json:"group,omitempty"`
	By          string `json:"by"`
}

type zone struct {
	prefix, domain string
	records        map[string]string
}

// render gives every key with its value. The order of `services` and `slices` does not matter.
func render(prefix, domain string, services []service, slices []slice) map[string]string {
	z := zone{prefix: prefix, domain: domain, records: map[string]string{}}
	byService := map[string][]slice{}
	for _, s := range slices {
		key := s.Namespace + "/" + s.Service
		byService[key] = append(byService[key], s)
	}
	sort.Slice(services, func(a, b int) bool {
		return services[a].Namespace+"/"+services[a].Name < services[b].Namespace+"/"+services[b].Name
	})
	for _, s := range services {
		z.service(s, "svc."+domain, byService[s.Namespace+"/"+s.Name], true)
		// Names that mean something else in the cluster's domain.
		if s.Namespace != "svc" && s.Namespace != "pod" && s.Namespace != "dns" {
			z.service(s, domain, byService[s.Namespace+"/"+s.Name], false)
		}
	}
	z.reverse(services, byService)
	return z.records
}

// service adds one Service's names below `base`. `whole`: with the keys for questions of type CNAME.
func (z *zone) service(s service, base string, slices []slice, whole bool) {
	name := s.Name + "." + s.Namespace + "." + base
	own := len(z.records)
	switch {
	case s.ExternalName != "":
		if _, err := netip.ParseAddr(s.ExternalName); err == nil {
			return // no name: no CNAME
		}
		// In the group of the level above, as its key is as long as the level's marker.
		z.add(z.key(name), record{Host: strings.TrimSuffix(s.ExternalName, "."), Group: groupTop})
	case s.Headless:
		z.headless(s, name, slices, whole)
	default:
		for _, p := range s.Ports {
			for _, ip := range s.IPs {
				at, strip := z.key(name), 1
				if p.Name != "" {
					at, strip = z.key(portName(p)+"."+name), 3
				}
				z.add(at+"/"+leaf(ip, p), record{Host: ip, Port: p.Number, TargetStrip: strip, Group: groupOf})
			}
		}
		if whole && len(z.records) > own {
			z.add(z.key(name), record{})
		}
	}
	if len(z.records) > own {
		z.level(s.Namespace + "." + base)
	}
}

func (z *zone) headless(s service, name string, slices []slice, whole bool) {
	for _, sl := range slices {
		ports := sl.Ports
		if len(ports) == 0 {
			ports = []port{{Number: noPort}}
		}
		for _, e := range sl.Endpoints {
			for _, address := range e.Addresses {
				host := hostname(e.Hostname, address) + "." + name
				for _, p := range ports {
					z.add(z.key(host)+"/"+leaf(address, p), record{Host: address, Port: p.Number, TargetStrip: 1, Group: groupOf})
					if p.Name != "" {
						at := z.key(portName(p) + "." + name)
						target := s.Name + "." + s.Namespace + ".svc." + z.domain
						target = hostname(e.Hostname, address) + "." + target
						z.add(at+"/"+leaf(target, p), record{Host: target, Port: p.Number, Group: groupSrv})
					}
				}
				if whole {
					z.add(z.key(host), record{})
					z.add(z.key(name), record{})
				}
			}
		}
	}
}

// level hides what lies below a namespace's name. The Corefile answers for the zone and for svc.DOMAIN.
func (z *zone) level(name string) {
	own := marker + "." + name
	// A CNAME to itself is no answer, nor is an SRV record without a port.
	z.add(z.key(own), record{Host: own, Port: noPort, Group: groupTop})
}

// reverse adds PTR records: a Service's own address first, then endpoints of headless Services. There can be one of each
// address, because CoreDNS reads one key.
func (z *zone) reverse(services []service, slices map[string][]slice) {
	names := map[string]string{}
	first := func(address, name string) {
		if before, taken := names[address]; !taken || name < before {
			names[address] = name
		}
	}
	for _, s := range services {
		for _, ip := range s.IPs {
			first(ip, fmt.Sprintf("%s.%s.svc.%s", s.Name, s.Namespace, z.domain))
		}
	}
	own := map[string]bool{}
	for ip := range names {
		own[ip] = true
	}
	for _, s := range services {
		if !s.Headless {
			continue
		}
		for _, sl := range slices[s.Namespace+"/"+s.Name] {
			for _, e := range sl.Endpoints {
				for _, address := range e.Addresses {
					if !own[address] {
						first(address, fmt.Sprintf("%s.%s.%s.svc.%s", hostname(e.Hostname, address), s.Name, s.Namespace, z.domain))
					}
				}
			}
		}
	}
	for address, name := range names {
		if reversed := reverseName(address); reversed != "" {
			z.add(z.key(reversed), record{Host: name})
		}
	}
}

func (z *zone) add(key string, r record) {
	r.By = owner
	if r.Host != "" {
		r.TTL = ttl
	}
	value, err := json.Marshal(r)
	if err != nil {
		panic(err) // strings and numbers only
	}
	z.records[key] = string(value)
}

// key is the name's labels from right to left, below the prefix.
func (z *zone) key(name string) string {
	labels := strings.Split(name, ".")
	var path strings.Builder
	path.WriteString(z.prefix)
	for i := len(labels) - 1; i >= 0; i-- {
		path.WriteByte('/')
		path.WriteString(strings.ToLower(labels[i]))
	}
	return path.String()
}

func portName(p port) string {
	return "_" + p.Name + "._" + strings.ToLower(p.Protocol)
}

// leaf is a label that no name has: records of one name differ by it.
func leaf(of string, p port) string {
	hash := fnv.New64a()
	fmt.Fprintf(hash, "%s|%s|%s|%d", of, p.Name, p.Protocol, p.Number)
	return "_" + strconv.FormatUint(hash.Sum64(), 16)
}

// hostname is the endpoint's own, else its address with dashes. [coredns 1.15: plugin/kubernetes: endpointHostname]
func hostname(given, address string) string {
	if given != "" {
		return given
	}
	dashed := strings.NewReplacer(".", "-", ":", "-").Replace(address)
	if strings.HasSuffix(dashed, "-") {
		dashed += "0"
	}
	return dashed
}

func reverseName(address string) string {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return ""
	}
	if ip.Is4() {
		b := ip.As4()
		return fmt.Sprintf("%d.%d.%d.%d.in-addr.arpa", b[3], b[2], b[1], b[0])
	}
	b := ip.As16()
	var name strings.Builder
	for i := len(b) - 1; i >= 0; i-- {
		fmt.Fprintf(&name, "%x.%x.", b[i]&15, b[i]>>4)
	}
	return name.String() + "ip6.arpa"
}
