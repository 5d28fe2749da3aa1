// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

// Package bench measures the real cloud beside docker compose, the peer, on the same machine in the
// same run. It decides nothing: docs/benchmarks.md says what came out and how to repeat it.
package bench

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"copse/test/testcloud"
)

// names are what the end-to-end tests bring up too.
var names = []string{"database-control", "messaging-control", "high-availability-control", "component/keystone"}

func open(b *testing.B) *testcloud.Cloud {
	b.Helper()
	c := testcloud.Open(b)
	c.Names = names
	c.TakeOver(b)
	c.Must(b, "build", "mariadb", "rabbitmq", "memcached", "haproxy", "keystone")
	return c
}

// timed runs a program b.N times and reports the fastest: the rest is what else the machine did.
func timed(b *testing.B, name string, run func()) {
	b.Helper()
	b.Run(name, func(b *testing.B) {
		best := time.Duration(1<<63 - 1)
		for b.Loop() {
			began := time.Now()
			run()
			best = min(best, time.Since(began))
		}
		b.ReportMetric(float64(best.Microseconds())/1000, "best-ms")
	})
}

// BenchmarkNothingToDo compares what it costs to find that everything is as declared.
func BenchmarkNothingToDo(b *testing.B) {
	c := open(b)
	began := time.Now()
	c.Up(b)
	b.Logf("copse up from built images: %.1f s", time.Since(began).Seconds())
	c.Healthy(b)
	timed(b, "copse-plan", func() { c.Must(b, c.With("plan")...) })
	timed(b, "copse-up", func() { c.Must(b, c.With("up", "--yes")...) })
	timed(b, "copse-ps", func() { c.Must(b, "ps") })

	compose := c.ComposeProgram(b)
	file := filepath.Join(c.Dir, "compose.yaml")
	if err := os.WriteFile(file, []byte(c.Must(b, "render", "compose")), 0o644); err != nil {
		b.Fatal(err)
	}
	c.PlaceSecrets(b)
	c.Must(b, "down", "--yes")
	up := []string{"--file", file, "up", "--detach", "haproxy", "keystone", "rabbitmq-accounts"}
	b.Cleanup(func() { testcloud.Must(b, compose, "--file", file, "down") })
	began = time.Now()
	testcloud.Must(b, compose, up...)
	b.Logf("docker compose up of the same, on data that is there already: %.1f s", time.Since(began).Seconds())
	// Compose runs jobs that have ended again at each up; without them it is a plain comparison.
	plain := []string{"--file", file, "up", "--detach", "--no-deps", "mariadb", "rabbitmq", "memcached", "haproxy", "keystone"}
	containers := func() string {
		return testcloud.Docker(b, "ps", "--quiet", "--no-trunc", "--filter", "label=com.docker.compose.oneoff=False")
	}
	before := containers()
	timed(b, "docker-compose-up", func() { testcloud.Must(b, compose, plain...) })
	if after := containers(); after != before {
		b.Errorf("docker compose found something to do: the containers were\n%s\nand are\n%s", before, after)
	}
	timed(b, "docker-compose-up-with-jobs", func() { testcloud.Must(b, compose, up...) })
}

// BenchmarkUp measures a cloud from nothing, with an empty database, and from its data.
func BenchmarkUp(b *testing.B) {
	c := open(b)
	c.Up(b)
	b.Run("from-nothing", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			c.Must(b, "down", "--volumes", "--yes")
			b.StartTimer()
			c.Up(b)
		}
	})
	b.Run("from-data", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			c.Must(b, "down", "--yes")
			b.StartTimer()
			c.Up(b)
		}
	})
	// Each time another value: one container is replaced behind the proxy.
	processes := 2
	b.Run("one-value-changed", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			processes = 5 - processes // 3, 2, 3…
			c.Declare(b, "values: {KEYSTONE_PROCESSES: "+strconv.Itoa(processes)+"}\n")
			b.StartTimer()
			c.Up(b)
		}
	})
}
