// Package dns stands in for lego's list of DNS providers: some of their modules are not available.
package dns

import (
	"fmt"

	"github.com/go-acme/lego/v5/challenge"
)

// NewDNSChallengeProviderByName always fails.
func NewDNSChallengeProviderByName(name string) (challenge.Provider, error) {
	return nil, fmt.Errorf("DNS provider %s: this Traefik was built without DNS providers; use another ACME challenge", name)
}
