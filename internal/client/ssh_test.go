// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package client_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"copse/internal/client"
)

// sshServer is an SSH server that opens unix sockets for one key.
type sshServer struct {
	address string
	hostKey ssh.PublicKey
	conns   chan net.Conn // those accepted, for tests that break them
}

func newKey(t *testing.T) (ssh.Signer, []byte) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return signer, pem.EncodeToMemory(block)
}

func startSSH(t *testing.T, allowed ssh.PublicKey) *sshServer {
	t.Helper()
	host, _ := newKey(t)
	config := &ssh.ServerConfig{PublicKeyCallback: func(meta ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if meta.User() == "operator" && string(key.Marshal()) == string(allowed.Marshal()) {
			return &ssh.Permissions{}, nil
		}
		return nil, errors.New("not allowed")
	}}
	config.AddHostKey(host)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &sshServer{address: listener.Addr().String(), hostKey: host.PublicKey(), conns: make(chan net.Conn, 10)}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			server.conns <- conn
			serving.Go(func() { serveSSH(conn, config) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close() // ends the loop above
		for len(server.conns) > 0 {
			_ = (<-server.conns).Close() // it may be closed already
		}
		serving.Wait()
	})
	return server
}

// serveSSH serves direct-streamlocal@openssh.com channels (OpenSSH's PROTOCOL, 2.4).
func serveSSH(conn net.Conn, config *ssh.ServerConfig) {
	_, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		return
	}
	var open sync.WaitGroup
	defer open.Wait()
	open.Go(func() { ssh.DiscardRequests(requests) })
	for channel := range channels {
		var target struct {
			Path, Reserved string
			Number         uint32
		}
		if channel.ChannelType() != "direct-streamlocal@openssh.com" || ssh.Unmarshal(channel.ExtraData(), &target) != nil {
			_ = channel.Reject(ssh.UnknownChannelType, "no")
			continue
		}
		far, err := net.Dial("unix", target.Path)
		if err != nil {
			_ = channel.Reject(ssh.ConnectionFailed, "open failed")
			continue
		}
		near, requests, err := channel.Accept()
		if err != nil {
			_ = far.Close()
			continue
		}
		open.Go(func() { ssh.DiscardRequests(requests) })
		open.Go(func() { _, _ = io.Copy(far, near); _ = far.Close() })
		open.Go(func() { _, _ = io.Copy(near, far); _ = near.Close() })
	}
}

// home makes a home directory with a key and the known hosts.
func home(t *testing.T, key []byte, known ...string) string {
	t.Helper()
	dir := t.TempDir()
	ssh := filepath.Join(dir, ".ssh")
	err := errors.Join(
		os.Mkdir(ssh, 0o700),
		os.WriteFile(filepath.Join(ssh, "id_ed25519"), key, 0o600),
		os.WriteFile(filepath.Join(ssh, "known_hosts"), []byte(strings.Join(known, "\n")+"\n"), 0o600),
	)
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func sshClient(t *testing.T, options client.SSHOptions) *client.Client {
	t.Helper()
	dialer, err := client.SSH(options)
	if err != nil {
		t.Fatal(err)
	}
	c := client.New(dialer)
	t.Cleanup(func() { _ = c.Close() }) // the server may have closed it first
	return c
}

func TestSSH(t *testing.T) {
	_, socket := start(t)
	signer, key := newKey(t)
	server := startSSH(t, signer.PublicKey())
	known := knownhosts.Line([]string{knownhosts.Normalize(server.address)}, server.hostKey)
	options := client.SSHOptions{Destination: "ssh://operator@" + server.address, Socket: socket, Home: home(t, key, known)}
	ctx := context.Background()

	c := sshClient(t, options)
	containers, err := c.Containers(ctx, nil, true)
	if err != nil || len(containers) != 3 {
		t.Fatalf("%d containers, %v", len(containers), err)
	}
	// The shared connection breaks: the next call makes another.
	if err := (<-server.conns).Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Secrets(ctx); err != nil {
		t.Errorf("after a broken connection: %v", err)
	}
}

func TestSSHErrorsSayTheWayOut(t *testing.T) {
	_, socket := start(t)
	signer, key := newKey(t)
	stranger, strangerKey := newKey(t)
	server := startSSH(t, signer.PublicKey())
	address := []string{knownhosts.Normalize(server.address)}
	known := knownhosts.Line(address, server.hostKey)
	for name, test := range map[string]struct {
		options client.SSHOptions
		want    string
	}{
		"unknown host":  {client.SSHOptions{Destination: "operator@" + server.address, Socket: socket, Home: home(t, key)}, "is not known: connect once with `ssh operator@127.0.0.1`"},
		"another key":   {client.SSHOptions{Destination: "operator@" + server.address, Socket: socket, Home: home(t, key, knownhosts.Line(address, stranger.PublicKey()))}, "is not the one in known_hosts"},
		"not let in":    {client.SSHOptions{Destination: "operator@" + server.address, Socket: socket, Home: home(t, strangerKey, known)}, "cannot log in to " + server.address + " as operator"},
		"encrypted key": {client.SSHOptions{Destination: "operator@" + server.address, Socket: socket, Home: home(t, []byte("not a key"), known)}, "ssh-add"},
		"no agent":      {client.SSHOptions{Destination: "operator@" + server.address, Socket: "/nowhere", Home: home(t, key, known)}, "`copse up` there starts the agent"},
		"nobody there":  {client.SSHOptions{Destination: "operator@127.0.0.1:1", Socket: socket, Home: home(t, key, known)}, "cannot connect to 127.0.0.1:1 by SSH"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := sshClient(t, test.options).Changes(context.Background())
			unreachable := (*client.UnreachableError)(nil)
			if !errors.As(err, &unreachable) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestSSHDestinations(t *testing.T) {
	for _, destination := range []string{"", "a b", "user@", "a:b:c", "host/path"} {
		if _, err := client.SSH(client.SSHOptions{Destination: destination}); err == nil {
			t.Errorf("%q is taken", destination)
		}
	}
	for _, destination := range []string{"host", "u@host", "u@host:2222", "[2001:db8::1]", "u@[2001:db8::1]:22", "2001:db8::1", "ssh://u@host:22"} {
		if _, err := client.SSH(client.SSHOptions{Destination: destination}); err != nil {
			t.Errorf("%q: %v", destination, err)
		}
	}
}
