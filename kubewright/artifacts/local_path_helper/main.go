// local-path-helper makes or removes the folder of one volume. The add-on local-path runs it in a pod on the volume's host.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

func main() {
	path := flag.String("p", "", "the volume's folder")
	action := flag.String("a", "", "create or delete")
	_ = flag.String("s", "", "its size in bytes; a folder has no limit")
	_ = flag.String("m", "", "Filesystem")
	flag.Parse()
	if err := act(*path, *action); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func act(path, action string) error {
	// The provisioner gives ROOT/VOLUME: a shorter path would be the root of all volumes.
	if !filepath.IsAbs(path) || filepath.Clean(path) != path || filepath.Dir(path) == "/" {
		return fmt.Errorf("not the folder of a volume: %q", path)
	}
	switch action {
	case "create":
		syscall.Umask(0)
		return os.MkdirAll(path, 0o777)
	case "delete":
		return os.RemoveAll(path)
	}
	return fmt.Errorf("not an action: %q (create, delete)", action)
}
