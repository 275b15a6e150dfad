// goverify ROOT INTERMEDIATES LEAF: what Go's crypto/x509 says of a certificate that serves and calls
// as "kubernetes.default.svc" and 127.0.0.1.
package main

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
)

func read(name string) []*x509.Certificate {
	content, err := os.ReadFile(name)
	if err != nil {
		panic(err)
	}
	var found []*x509.Certificate
	for {
		var block *pem.Block
		block, content = pem.Decode(content)
		if block == nil {
			return found
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		found = append(found, certificate)
	}
}

func main() {
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	for _, certificate := range read(os.Args[1]) {
		roots.AddCert(certificate)
	}
	for _, certificate := range read(os.Args[2]) {
		between.AddCert(certificate)
	}
	for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		for _, name := range []string{"kubernetes.default.svc", "127.0.0.1"} {
			options := x509.VerifyOptions{Roots: roots, Intermediates: between, DNSName: name, KeyUsages: []x509.ExtKeyUsage{usage}}
			if _, err := read(os.Args[3])[0].Verify(options); err != nil {
				fmt.Println(err)
				os.Exit(1)
			}
		}
	}
}
