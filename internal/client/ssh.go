// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/crypto/ssh/knownhosts"
)

// SSHOptions say how to reach the socket of another host.
type SSHOptions struct {
	// Destination is [user@]host[:port], with or without "ssh://" before it.
	Destination string
	// Socket is the agent's path on that host.
	Socket string
	// AgentSocket is where the operator's SSH agent listens, "" for none.
	AgentSocket string
	// Home is where .ssh with keys and known_hosts is.
	Home string
	// SystemKnownHosts is the system's list of host keys.
	SystemKnownHosts string
}

// SSH dials the agent's socket on another host. Host keys must be known (known_hosts); the
// operator's SSH agent and unencrypted default keys are offered. The SSH connection is shared
// by all connections and made again when it has broken.
func SSH(options SSHOptions) (Dialer, error) {
	userName, address, err := splitDestination(options.Destination)
	if err != nil {
		return nil, err
	}
	return &sshDialer{options: options, user: userName, address: address}, nil
}

type sshDialer struct {
	options       SSHOptions
	user, address string

	mu     sync.Mutex // guards client
	client *ssh.Client
}

// splitDestination takes [ssh://][user@]host[:port] apart; the port defaults to 22, the user
// to the one who asks.
func splitDestination(destination string) (userName, address string, err error) {
	rest := strings.TrimPrefix(destination, "ssh://")
	if at := strings.LastIndex(rest, "@"); at >= 0 {
		userName, rest = rest[:at], rest[at+1:]
	}
	host, port, splitErr := net.SplitHostPort(rest)
	if splitErr != nil {
		host, port = strings.Trim(rest, "[]"), "22"
		if strings.Contains(host, ":") && net.ParseIP(host) == nil {
			return "", "", fmt.Errorf("cannot read the host %q: write it as user@host:port", destination)
		}
	}
	if host == "" || strings.ContainsAny(host, "/ ") {
		return "", "", fmt.Errorf("cannot read the host %q: write it as user@host:port", destination)
	}
	if userName == "" {
		current, err := user.Current()
		if err != nil {
			return "", "", fmt.Errorf("cannot tell who you are for SSH to %s: %w: write user@host", host, err)
		}
		userName = current.Username
	}
	return userName, net.JoinHostPort(host, port), nil
}

func (d *sshDialer) Where() string {
	return d.options.Socket + " on " + d.options.Destination
}

func (d *sshDialer) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.client == nil {
		return nil
	}
	err := d.client.Close()
	d.client = nil
	return err
}

func (d *sshDialer) Dial(ctx context.Context) (net.Conn, error) {
	client, fresh, err := d.connection(ctx)
	if err != nil {
		return nil, err
	}
	conn, err := client.DialContext(ctx, "unix", d.options.Socket)
	if err == nil {
		return conn, nil
	}
	refused := (*ssh.OpenChannelError)(nil)
	if !errors.As(err, &refused) && !fresh && ctx.Err() == nil {
		// The shared connection had broken; once more on a new one.
		d.drop(client)
		if client, _, err = d.connection(ctx); err != nil {
			return nil, err
		}
		if conn, err = client.DialContext(ctx, "unix", d.options.Socket); err == nil {
			return conn, nil
		}
	}
	if errors.As(err, &refused) {
		return nil, fmt.Errorf("%s does not open the socket (%s): `copse up` there starts the agent, and only root may use it", d.address, refused.Message)
	}
	return nil, err
}

func (d *sshDialer) drop(client *ssh.Client) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.client == client {
		_ = client.Close() // it is broken already
		d.client = nil
	}
}

// connection returns the shared SSH connection, and whether it was made for this call.
func (d *sshDialer) connection(ctx context.Context) (*ssh.Client, bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.client != nil {
		return d.client, false, nil
	}
	hostKeys, algorithms, err := d.hostKeys()
	if err != nil {
		return nil, false, err
	}
	signers, skipped, closeAgent := d.signers(ctx)
	defer closeAgent()
	config := &ssh.ClientConfig{
		User:              d.user,
		Auth:              []ssh.AuthMethod{ssh.PublicKeys(signers...)},
		HostKeyCallback:   hostKeys,
		HostKeyAlgorithms: algorithms,
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", d.address)
	if err != nil {
		// Not wrapped: a host that refuses is not an agent that does not run.
		return nil, false, fmt.Errorf("cannot connect to %s by SSH: %v", d.address, err)
	}
	// The handshake knows no context; closing the connection ends it.
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	sshConn, channels, requests, err := ssh.NewClientConn(conn, d.address, config)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = conn.Close() // the handshake's error is the one to tell
		return nil, false, d.explain(err, skipped)
	}
	d.client = ssh.NewClient(sshConn, channels, requests)
	return d.client, true, nil
}

// explain puts the way out beside what the handshake says.
func (d *sshDialer) explain(err error, skipped []string) error {
	unknown := (*knownhosts.KeyError)(nil)
	if errors.As(err, &unknown) {
		host, _, _ := net.SplitHostPort(d.address)
		if len(unknown.Want) == 0 {
			return fmt.Errorf("the key of %s is not known: connect once with `ssh %s@%s` and compare its fingerprint", d.address, d.user, host)
		}
		return fmt.Errorf("the key of %s is not the one in known_hosts: somebody may be in between; where the host was set up anew, `ssh-keygen -R %s`", d.address, host)
	}
	if len(skipped) > 0 {
		return fmt.Errorf("cannot log in to %s as %s: %w: %s is encrypted; add it to your SSH agent with ssh-add", d.address, d.user, err, strings.Join(skipped, ", "))
	}
	return fmt.Errorf("cannot log in to %s as %s: %w", d.address, d.user, err)
}

// hostKeys returns the check of the host's key and the algorithms of the keys that are known
// for it: a server with several keys must show one of those.
func (d *sshDialer) hostKeys() (ssh.HostKeyCallback, []string, error) {
	var files []string
	for _, file := range []string{filepath.Join(d.options.Home, ".ssh", "known_hosts"), d.options.SystemKnownHosts} {
		if _, err := os.Stat(file); file != "" && err == nil {
			files = append(files, file)
		}
	}
	check, err := knownhosts.New(files...)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot read the known host keys: %v", err)
	}
	address, err := net.ResolveTCPAddr("tcp", d.address)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot find %s: %w", d.address, err)
	}
	var algorithms []string
	known := (*knownhosts.KeyError)(nil)
	if errors.As(check(d.address, address, noKey{}), &known) {
		for _, key := range known.Want {
			switch algorithm := key.Key.Type(); algorithm {
			case ssh.KeyAlgoRSA:
				algorithms = append(algorithms, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256)
			default:
				algorithms = append(algorithms, algorithm)
			}
		}
	}
	slices.Sort(algorithms)
	return check, slices.Compact(algorithms), nil
}

// noKey is a key that no host has; asking with it tells which keys are known.
type noKey struct{}

func (noKey) Type() string                        { return "none" }
func (noKey) Marshal() []byte                     { return nil }
func (noKey) Verify([]byte, *ssh.Signature) error { return errors.New("not a key") }

// signers returns the operator's keys, the names of those that are encrypted, and a function
// that closes the connection to the SSH agent once they are no longer used.
func (d *sshDialer) signers(ctx context.Context) (signers []ssh.Signer, skipped []string, closeAgent func()) {
	closeAgent = func() {}
	if d.options.AgentSocket != "" {
		var dialer net.Dialer
		if conn, err := dialer.DialContext(ctx, "unix", d.options.AgentSocket); err == nil {
			closeAgent = func() { _ = conn.Close() }
			if held, err := agent.NewClient(conn).Signers(); err == nil {
				signers = append(signers, held...)
			}
		}
	}
	for _, name := range []string{"id_ed25519", "id_ecdsa", "id_rsa"} {
		file := filepath.Join(d.options.Home, ".ssh", name)
		data, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		signer, err := ssh.ParsePrivateKey(data)
		if err != nil {
			skipped = append(skipped, file)
			continue
		}
		signers = append(signers, signer)
	}
	return signers, skipped, closeAgent
}
