// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"copse/test/testcloud"
)

// fleetSize is the number of containers of a large host.
const fleetSize = 60

// BenchmarkReplace compares what clients see while containers with a port of their own are replaced, one
// and all at once: by copse, by docker compose from the same definitions, and by the sequence of
// today's deployers: stop, remove, create, start, one container after the other.
func BenchmarkReplace(b *testing.B) {
	f := openFleet(b, fleetSize)
	one, all := []int{7}, f.all()
	b.Run("copse", func(b *testing.B) {
		f.compare(b, one, all, func(numbers []int) func() {
			f.change(b, numbers)
			return func() { f.Up(b) }
		})
	})

	compose := f.ComposeProgram(b)
	file := filepath.Join(f.Dir, "compose.yaml")
	render := func() { write(b, file, f.Must(b, "render", "compose")) }
	render()
	f.Must(b, "down", "--yes")
	up := func() { testcloud.Must(b, compose, "--file", file, "up", "--detach") }
	b.Cleanup(func() { testcloud.Must(b, compose, "--file", file, "down") })
	up()
	b.Run("docker-compose-up", func(b *testing.B) {
		f.compare(b, one, all, func(numbers []int) func() {
			f.change(b, numbers)
			render()
			return up
		})
	})
	b.Run("stop-remove-create-start", func(b *testing.B) {
		f.compare(b, one, all, func(numbers []int) func() {
			var calls [][]string
			for _, number := range numbers {
				calls = append(calls, f.recreation(b, number)...)
			}
			return func() {
				for _, call := range calls {
					testcloud.Docker(b, call...)
				}
			}
		})
	})
}

// compare measures the replacement of one container and of all; prepare makes ready what the function
// that it returns then does.
func (f *fleet) compare(b *testing.B, one, all []int, prepare func([]int) func()) {
	for _, numbers := range [][]int{one, all} {
		b.Run(fmt.Sprintf("of=%d", len(numbers)), func(b *testing.B) {
			var wall time.Duration
			runs := 0
			var shortest, median, longest time.Duration
			for b.Loop() {
				b.StopTimer()
				do := prepare(numbers)
				b.StartTimer()
				began := time.Now()
				gaps := f.gaps(b, numbers, do)
				wall += time.Since(began)
				runs++
				if len(gaps) > 0 {
					shortest, median, longest = shortest+gaps[0], median+gaps[len(gaps)/2], longest+gaps[len(gaps)-1]
				}
			}
			mean := func(d time.Duration) float64 { return float64(d.Milliseconds()) / float64(runs) }
			b.ReportMetric(mean(shortest), "gap-min-ms")
			b.ReportMetric(mean(median), "gap-median-ms")
			b.ReportMetric(mean(longest), "gap-max-ms")
			b.ReportMetric(mean(wall), "wall-ms")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// recreation returns the engine's calls by which one container is replaced by one just like it.
func (f *fleet) recreation(b *testing.B, number int) [][]string {
	b.Helper()
	label := "label=com.docker.compose.service=" + fmt.Sprintf("fleet-%02d", number)
	id := strings.TrimSpace(testcloud.Docker(b, "ps", "--quiet", "--filter", label))
	if id == "" {
		// Replaced by this function before: it has a name of its own, and no label of Compose.
		id = fmt.Sprintf("fleet-%02d", number)
	}
	image := strings.TrimSpace(testcloud.Docker(b, "inspect", "--format", "{{.Config.Image}}", id))
	name := fmt.Sprintf("fleet-%02d", number)
	b.Cleanup(func() { _ = exec.Command("docker", "rm", "--force", name).Run() }) // absent at the second time
	return [][]string{
		{"stop", id},
		{"rm", id},
		{
			"create", "--name", name, "--network=host", "--restart=always", "--read-only", "--cap-drop=ALL", "--user=42457:42457",
			"--tmpfs=/tmp:mode=1777,size=1m", "--tmpfs=/run:mode=0755,uid=42457,gid=42457,size=1m", "--memory=64m", "--pids-limit=50",
			image, "memcached", "-l", "127.0.0.1", "-p", fmt.Sprint(firstFleetPort + number), "-U", "0", "-m", "8",
		},
		{"start", name},
	}
}
