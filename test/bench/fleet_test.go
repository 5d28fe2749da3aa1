// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"copse/test/testcloud"
)

// fleet is a cloud of many equal containers that are replaced stop-first: each listens on a port of its own.
type fleet struct {
	*testcloud.Cloud
	size int
	// steps has what is declared for each container, step the last that was.
	steps []int
	step  int
}

// firstFleetPort is that of the first container; the others follow.
const firstFleetPort = 31000

const fleetService = `
  fleet-%02[1]d:
    network_mode: host
    restart: always
    read_only: true
    cap_drop: [ALL]
    user: "42457:42457"
    command: [memcached, -l, 127.0.0.1, -p, "%[2]d", -U, "0", -m, "8"]
    environment: {FLEET_STEP: "${FLEET_STEP_%02[1]d}"}
    tmpfs: ["/tmp:mode=1777,size=1m", "/run:mode=0755,uid=42457,gid=42457,size=1m"]
    healthcheck:
      test: [CMD, copse-init, check, tcp, "127.0.0.1:%[2]d"]
      interval: 10s
      timeout: 5s
      start_period: 30s
      start_interval: 200ms
    mem_limit: 64m
    pids_limit: 50
    stop_grace_period: 5s
    deploy:
      update_config: {order: stop-first}
    x-copse:
      component: fleet
      image: memcached
      ports: [{name: fleet, address: 127.0.0.1, port: %[2]d}]
`

// openFleet declares the fleet in a catalogue of its own and brings it up.
func openFleet(b *testing.B, size int) *fleet {
	b.Helper()
	f := &fleet{Cloud: testcloud.Open(b), size: size, steps: make([]int, size)}
	f.TakeOver(b)
	f.Must(b, "build", "memcached")
	catalogue := filepath.Join(f.Dir, "fleet")
	set := filepath.Join(catalogue, "sets", "fleet")
	if err := os.MkdirAll(set, 0o755); err != nil {
		b.Fatal(err)
	}
	var compose, values strings.Builder
	compose.WriteString("x-copse: {description: Containers to replace.}\nservices:\n")
	for i := range size {
		fmt.Fprintf(&compose, fleetService, i, firstFleetPort+i)
		fmt.Fprintf(&values, "FLEET_STEP_%02d: {type: int, default: 0, description: Changing it replaces the container.}\n", i)
	}
	write(b, filepath.Join(set, "compose.yaml"), compose.String())
	write(b, filepath.Join(catalogue, "values.yaml"), values.String())
	f.change(b, f.all())
	f.Up(b)
	return f
}

func write(b *testing.B, path, content string) {
	b.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		b.Fatal(err)
	}
}

func (f *fleet) all() []int {
	all := make([]int, f.size)
	for i := range all {
		all[i] = i
	}
	return all
}

// change declares another value for the containers with these numbers, which no other change has had.
func (f *fleet) change(b *testing.B, numbers []int) {
	b.Helper()
	f.step++
	var values []string
	for i := range f.size {
		if slices.Contains(numbers, i) {
			f.steps[i] = f.step
		}
		values = append(values, fmt.Sprintf("FLEET_STEP_%02d: %d", i, f.steps[i]))
	}
	f.Declare(b, "sets: [fleet]\ncatalogue: [fleet]\nvalues: {"+strings.Join(values, ", ")+"}\n")
}

// gap is the time for which a port did not answer, as a client sees it.
type gap struct {
	failed      int
	first, last time.Time
}

func (g gap) duration() time.Duration { return g.last.Sub(g.first) }

// probeInterval is the time between two connections to one port, and so what a gap is exact to.
const probeInterval = 10 * time.Millisecond

// gaps connects to the ports of the numbers again and again while do runs and until all of them answer,
// and returns how long each was away, shortest first. A gap ends with the first connection that is taken again.
func (f *fleet) gaps(b *testing.B, numbers []int, do func()) []time.Duration {
	b.Helper()
	measured := make([]gap, len(numbers))
	done := make(chan struct{})
	var probes sync.WaitGroup
	for i, number := range numbers {
		probes.Go(func() {
			tick := time.NewTicker(probeInterval)
			defer tick.Stop()
			away := false
			for {
				select {
				case <-done:
					return
				case <-tick.C:
				}
				began := time.Now()
				conn, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", firstFleetPort+number), 5*time.Second)
				if err == nil {
					conn.Close()
				}
				g := &measured[i]
				switch {
				case err != nil:
					if g.failed == 0 {
						g.first = began
					}
					g.failed++
					away = true
				case away:
					away, g.last = false, time.Now()
				}
			}
		})
	}
	do()
	for _, number := range numbers {
		f.await(b, number)
	}
	time.Sleep(10 * probeInterval) // each probe sees that it is back
	close(done)
	probes.Wait()
	durations := make([]time.Duration, 0, len(measured))
	for i, g := range measured {
		if g.failed == 0 {
			b.Errorf("container %d was not seen away: it was not replaced, or the probe is blind", numbers[i])
			continue
		}
		durations = append(durations, g.duration())
	}
	slices.Sort(durations)
	return durations
}

// await waits until a container answers.
func (f *fleet) await(b *testing.B, number int) {
	b.Helper()
	for range 1000 {
		conn, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", firstFleetPort+number), 5*time.Second)
		if err == nil {
			conn.Close()
			return
		}
		time.Sleep(probeInterval)
	}
	b.Fatalf("container %d does not come back", number)
}
