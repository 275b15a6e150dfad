// Package ext stands in for a folder that Traefik's module leaves out: extensions of its configuration, of which there are none.
package ext

// HTTP extends the HTTP configuration.
type HTTP struct{}

// Router extends a router.
type Router struct{}
