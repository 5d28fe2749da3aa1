// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// pipes is a listener without a network: each connection is one end of a pipe.
type pipes struct {
	offered chan net.Conn
	closed  chan struct{}
}

func (p pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.offered:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p pipes) Close() error   { close(p.closed); return nil }
func (p pipes) Addr() net.Addr { return nil }

// TestStrangersWait: however many connect, the agent has no more than its places open.
func TestStrangersWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const places, strangers = 3, 10
		clients := make(chan net.Conn, strangers)
		for range strangers {
			c, _ := net.Pipe()
			clients <- c
		}
		listener := limit(pipes{clients, make(chan struct{})}, places)
		accepted := make(chan net.Conn, strangers)
		ended := make(chan error, 1)
		go func() {
			for {
				conn, err := listener.Accept()
				if err != nil {
					ended <- err
					return
				}
				accepted <- conn
			}
		}()
		synctest.Wait()
		if len(accepted) != places {
			t.Errorf("%d connections are open, want %d", len(accepted), places)
		}
		first := <-accepted
		for range 2 { // the second gives no place back
			if err := first.Close(); err != nil {
				t.Error(err)
			}
		}
		synctest.Wait()
		if len(accepted) != places {
			t.Errorf("%d connections are open after one has ended, want %d", len(accepted), places)
		}
		for range 2 {
			if err := listener.Close(); err != nil {
				t.Error(err)
			}
		}
		if err := <-ended; !errors.Is(err, net.ErrClosed) {
			t.Errorf("the listener ended with %v", err)
		}
	})
}

// TestStrangersTakeTurns: however many ask at a time, the engine is asked for a few of them.
func TestStrangersTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most, strangers = 2, 9
		var answering, answered atomic.Int32
		goOn := make(chan struct{})
		handler := atMost(most, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			answering.Add(1)
			<-goOn
			answering.Add(-1)
			answered.Add(1)
		}))
		ctx, cancel := context.WithCancel(t.Context())
		for i := range strangers {
			request := httptest.NewRequest(http.MethodGet, "/v1/health", nil)
			if i >= strangers/2 {
				request = request.WithContext(ctx)
			}
			go handler.ServeHTTP(httptest.NewRecorder(), request)
			synctest.Wait() // they come in this order
		}
		if n := answering.Load(); n != most {
			t.Errorf("%d are answered at a time, want %d", n, most)
		}
		cancel()
		synctest.Wait()
		close(goOn)
		synctest.Wait()
		if n := answered.Load(); n != strangers/2 {
			t.Errorf("%d were answered, want the %d that waited for it", n, strangers/2)
		}
	})
}
