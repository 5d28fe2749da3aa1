// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func open(t *testing.T, path string, opts ...Option) *Store {
	t.Helper()
	s, err := Open(path, append([]Option{WithoutSync()}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { shut(t, s) })
	return s
}

func shut(t *testing.T, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func update(t *testing.T, s *Store, fn func(*Tx) error) {
	t.Helper()
	if err := s.Update(fn); err != nil {
		t.Fatal(err)
	}
}

func view(t *testing.T, s *Store, fn func(*Tx) error) {
	t.Helper()
	if err := s.View(fn); err != nil {
		t.Fatal(err)
	}
}

type doc struct {
	Name string
	Size int `json:",omitempty"`
}

func TestDocuments(t *testing.T) {
	path := filepath.Join(t.TempDir(), "deep", "er", "copse.db")
	s := open(t, path)
	update(t, s, func(tx *Tx) error {
		return errors.Join(
			Put(tx, "docs", "b", doc{"b", 2}), Put(tx, "docs", "a", doc{"a", 1}), Put(tx, "docs", "c/1", doc{Name: "c"}),
			Put(tx, "docs", "c/2", doc{Name: "d"}), Put(tx, "other", "a", 7),
			Delete(tx, "docs", "missing"), Delete(tx, "missing", "missing"),
		)
	})
	shut(t, s)
	s = open(t, path)
	view(t, s, func(tx *Tx) error {
		got := doc{Size: 9}
		if found, err := Get(tx, "docs", "a", &got); err != nil || !found || got != (doc{"a", 1}) {
			t.Errorf("got %+v, %t, %v", got, found, err)
		}
		for _, missing := range [][2]string{{"docs", "z"}, {"missing", "a"}} {
			if found, err := Get(tx, missing[0], missing[1], &got); err != nil || found {
				t.Errorf("%v: found %t, %v", missing, found, err)
			}
		}
		var wrong []int
		if _, err := Get(tx, "docs", "a", &wrong); err == nil || !strings.Contains(err.Error(), "cannot read docs/a from "+path) {
			t.Errorf("a document of another type gives %v", err)
		}
		for name, tc := range map[string]struct {
			each func(func(string, doc) error) error
			want string
		}{
			"all":     {func(fn func(string, doc) error) error { return Each(tx, "docs", fn) }, "a b c/1 c/2"},
			"prefix":  {func(fn func(string, doc) error) error { return EachPrefix(tx, "docs", "c/", fn) }, "c/1 c/2"},
			"range":   {func(fn func(string, doc) error) error { return EachIn(tx, "docs", "b", "c/2", fn) }, "b c/1"},
			"missing": {func(fn func(string, doc) error) error { return Each(tx, "missing", fn) }, ""},
		} {
			var keys []string
			if err := tc.each(func(key string, v doc) error {
				if v.Name == "" {
					t.Errorf("%s: %s is empty", name, key)
				}
				keys = append(keys, key)
				return nil
			}); err != nil {
				t.Error(err)
			}
			if got := strings.Join(keys, " "); got != tc.want {
				t.Errorf("%s: visited %q, want %q", name, got, tc.want)
			}
		}
		stop := errors.New("stop")
		if err := Each(tx, "docs", func(string, doc) error { return stop }); err != stop {
			t.Errorf("got %v, want the visitor's own error", err)
		}
		if err := Put(tx, "docs", "x", 1); err == nil {
			t.Error("a read transaction writes")
		}
		if tx.Writable() {
			t.Error("a read transaction says it is writable")
		}
		return nil
	})
	for name, want := range map[string]fs.FileMode{path: 0o600, filepath.Dir(path): 0o700} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %o, want %o", name, got, want)
		}
	}
}

func TestEachWhileWriting(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "db"))
	update(t, s, func(tx *Tx) error {
		var errs []error
		for i := range 2000 { // more than fits on a page
			errs = append(errs, Put(tx, "docs", Key(uint64(i)), i))
		}
		return errors.Join(errs...)
	})
	visited := 0
	update(t, s, func(tx *Tx) error {
		return Each(tx, "docs", func(key string, i int) error {
			visited++
			return errors.Join(
				Delete(tx, "docs", key), Delete(tx, "docs", Key(uint64(i+1))), // every second one goes before its turn
				Put(tx, "docs", Key(uint64(i+10_000)), i),
			)
		})
	})
	if visited != 1000 {
		t.Errorf("%d documents were visited, want 1000", visited)
	}
	view(t, s, func(tx *Tx) error {
		keys, err := Keys(tx, "docs", "")
		if len(keys) != 1000 || keys[0] != Key(10_000) {
			t.Errorf("%d documents are left, from %s", len(keys), keys[0])
		}
		return err
	})
}

func TestFailedUpdateChangesNothing(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "db"))
	no := errors.New("no")
	if err := s.Update(func(tx *Tx) error { return errors.Join(Put(tx, "docs", "a", 1), no) }); !errors.Is(err, no) {
		t.Errorf("got %v, want the function's own error", err)
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		_ = s.Update(func(tx *Tx) error {
			if err := Put(tx, "docs", "b", 1); err != nil {
				t.Error(err)
			}
			panic("no")
		})
	}()
	update(t, s, func(tx *Tx) error {
		for _, key := range []string{"a", "b"} {
			var v int
			if found, err := Get(tx, "docs", key, &v); found || err != nil {
				t.Errorf("%s was written: %t, %v", key, found, err)
			}
		}
		return nil
	})
}

func TestSequencesAndRevision(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	s := open(t, path)
	var got []uint64
	next := func(bucket string) {
		update(t, s, func(tx *Tx) error {
			n, err := NextSequence(tx, bucket)
			got = append(got, n)
			return err
		})
	}
	next("a")
	next("a")
	_ = s.Update(func(tx *Tx) error {
		_, err := NextSequence(tx, "a")
		return errors.Join(err, errors.New("take it back"))
	})
	next("b")
	shut(t, s)
	s = open(t, path)
	next("a")
	if want := []uint64{1, 2, 1, 3}; !cmp.Equal(got, want) {
		t.Errorf("numbers are %v, want %v", got, want)
	}
	view(t, s, func(tx *Tx) error {
		if a, z := Sequence(tx, "a"), Sequence(tx, "z"); a != 3 || z != 0 {
			t.Errorf("the last numbers are %d and %d, want 3 and 0", a, z)
		}
		return nil
	})

	if n, err := s.Revision(); n != 0 || err != nil {
		t.Errorf("the first revision is %d, %v", n, err)
	}
	update(t, s, func(tx *Tx) error {
		n, err := tx.BumpRevision()
		if n != 1 {
			t.Errorf("the next revision is %d", n)
		}
		return err
	})
	update(t, s, func(tx *Tx) error { return Put(tx, "docs", "a", 1) })
	if n, err := s.Revision(); n != 1 || err != nil {
		t.Errorf("after a write that declares nothing the revision is %d, %v", n, err)
	}
}

func TestKeysSortAsNumbers(t *testing.T) {
	numbers := []uint64{0, 1, 9, 10, 99, 1 << 32, math.MaxUint64}
	var keys []string
	for _, n := range numbers {
		keys = append(keys, Key(n))
	}
	if !slices.IsSorted(keys) {
		t.Errorf("%v is not sorted", keys)
	}
}

func TestBucketNames(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "db"))
	update(t, s, func(tx *Tx) error {
		for _, bucket := range []string{"", metaBucket} {
			var v int
			_, getErr := Get(tx, bucket, schemaKey, &v)
			_, seqErr := NextSequence(tx, bucket)
			_, keysErr := Keys(tx, bucket, "")
			for _, err := range []error{getErr, seqErr, keysErr, Put(tx, bucket, "a", 1), Delete(tx, bucket, schemaKey)} {
				if err == nil {
					t.Errorf("bucket %q can be used", bucket)
				}
			}
		}
		return nil
	})
}

// holdEnv, set, makes the test program hold the store it names until its standard input ends.
const holdEnv = "COPSE_TEST_HOLD"

func TestMain(m *testing.M) {
	path := os.Getenv(holdEnv)
	if path == "" {
		os.Exit(m.Run())
	}
	s, err := Open(path)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("held")
	_, _ = os.Stdin.Read(make([]byte, 1)) // until the test closes it
	if err := s.Close(); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func TestSecondProcessIsTold(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), holdEnv+"="+path)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := make([]byte, 100)
	n, _ := out.Read(said)
	if string(said[:n]) != "held\n" {
		t.Fatalf("the other process said %q", said[:n])
	}

	_, err = Open(path, WithLockTimeout(0))
	var held *HeldError
	if !errors.As(err, &held) || held.Holder == nil || held.Holder.PID != cmd.Process.Pid {
		t.Errorf("got %v, want that process %d holds it", err, cmd.Process.Pid)
	} else if msg := err.Error(); !strings.Contains(msg, path) || !strings.Contains(msg, fmt.Sprint(cmd.Process.Pid)) {
		t.Errorf("the message names not both file and process: %s", msg)
	}
	if err := os.Remove(holderPath(path)); err != nil {
		t.Fatal(err)
	}
	if _, err = Open(path, WithLockTimeout(0)); !errors.As(err, &held) || held.Holder != nil {
		t.Errorf("got %v, want that somebody holds it", err)
	}

	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	open(t, path) // what it left behind stands in nobody's way
}

func TestUpgrades(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	rename := Upgrade{"rename a to b", func(tx *Tx) error {
		var v string
		if _, err := Get(tx, "docs", "a", &v); err != nil {
			return err
		}
		return errors.Join(Put(tx, "docs", "b", v), Delete(tx, "docs", "a"))
	}}
	shout := Upgrade{"shout", func(tx *Tx) error {
		var v string
		_, err := Get(tx, "docs", "b", &v)
		return errors.Join(err, Put(tx, "docs", "b", strings.ToUpper(v)))
	}}
	broken := Upgrade{"break", func(tx *Tx) error {
		return errors.Join(Delete(tx, "docs", "b"), errors.New("cannot make sense of it"))
	}}
	s := open(t, path)
	update(t, s, func(tx *Tx) error { return Put(tx, "docs", "a", "hello") })
	shut(t, s)

	read := func(s *Store, key string) string {
		var v string
		view(t, s, func(tx *Tx) error {
			_, err := Get(tx, "docs", key, &v)
			return err
		})
		return v
	}
	s = open(t, path, WithUpgrades(rename, shout))
	if a, b := read(s, "a"), read(s, "b"); a != "" || b != "HELLO" {
		t.Errorf("after the upgrade a is %q and b is %q", a, b)
	}
	shut(t, s)
	shut(t, open(t, path, WithUpgrades(rename, shout))) // no step is taken twice

	if _, err := Open(path, WithUpgrades(rename, shout, broken)); err == nil || !strings.Contains(err.Error(), "from schema version 3 to 4 (break): cannot make sense of it") {
		t.Errorf("got %v, want the step that failed", err)
	}
	s = open(t, path, WithUpgrades(rename, shout))
	if b := read(s, "b"); b != "HELLO" {
		t.Errorf("after a failed upgrade b is %q", b)
	}
	shut(t, s)

	_, err := Open(path)
	var newer *NewerError
	if !errors.As(err, &newer) || newer.Data != 3 || newer.Known != 1 {
		t.Fatalf("got %v, want that the data is newer", err)
	}
	before := copyBeforeUpgrade(path, 1)
	if !strings.Contains(err.Error(), before) {
		t.Errorf("the message does not name the copy %s: %v", before, err)
	}
	if a := read(open(t, before), "a"); a != "hello" {
		t.Errorf("in the copy made before the upgrade a is %q", a)
	}
}

func TestCopyTo(t *testing.T) {
	dir := t.TempDir()
	s := open(t, filepath.Join(dir, "db"))
	copied := filepath.Join(dir, "backup", "copy.db")
	for i := range 2 { // the second replaces the first
		update(t, s, func(tx *Tx) error { return Put(tx, "docs", "a", i) })
		if err := s.CopyTo(copied); err != nil {
			t.Fatal(err)
		}
	}
	update(t, s, func(tx *Tx) error { return Put(tx, "docs", "a", "later") })
	view(t, open(t, copied), func(tx *Tx) error {
		var v int
		_, err := Get(tx, "docs", "a", &v)
		if v != 1 {
			t.Errorf("the copy has %d, want 1", v)
		}
		return err
	})
	if info, err := os.Stat(copied); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the copy has mode %v, %v", info.Mode(), err)
	}
	if err := s.CopyTo(s.Path()); err == nil {
		t.Error("the store is copied onto itself")
	}

	blocked := filepath.Join(dir, "blocked")
	if err := os.MkdirAll(filepath.Join(blocked, "full"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := s.CopyTo(blocked); err == nil || !strings.Contains(err.Error(), blocked) {
		t.Errorf("copying onto a directory gives %v", err)
	}
	left, err := filepath.Glob(filepath.Join(dir, ".*"))
	if err != nil || len(left) != 0 {
		t.Errorf("temporary files are left behind: %v, %v", left, err)
	}
}

func TestErrorsShowAWayOut(t *testing.T) {
	dir := t.TempDir()
	junk := filepath.Join(dir, "junk")
	if err := os.WriteFile(junk, []byte(strings.Repeat("not a store ", 5000)), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		junk:                           "put a copy back",
		filepath.Join(junk, "db"):      "a file is expected there",
		dir:                            "a file is expected there",
		filepath.Join("/proc", "x/db"): "", // only that it names the file
	} {
		_, err := Open(path)
		var fileErr *FileError
		if !errors.As(err, &fileErr) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", path, err, want)
		}
	}
	for _, tc := range []struct {
		err  error
		want string
	}{
		{fmt.Errorf("write: %w", syscall.ENOSPC), "nothing was changed; free space on the file system of /var/lib/copse"},
		{syscall.EDQUOT, "free space"},
		{syscall.EROFS, "mounted read-only"},
		{&fs.PathError{Op: "open", Path: "x", Err: syscall.EACCES}, "run as root"},
		{syscall.EIO, "cannot write /var/lib/copse/db: input/output error"},
	} {
		err := explain("write", "/var/lib/copse/db", tc.err)
		if !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "/var/lib/copse/db") || !errors.Is(err, tc.err) {
			t.Errorf("got %v, want %q", err, tc.want)
		}
		if again := explain("open", "other", err); again != err {
			t.Errorf("an error that is explained is explained again: %v", again)
		}
	}
}

// TestWritesThatDoNotFit has bbolt refuse to grow the file: the write fails as a whole, the store goes on.
func TestWritesThatDoNotFit(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "db"))
	update(t, s, func(tx *Tx) error { return Put(tx, "docs", "a", "before") })
	s.db.MaxSize = 1 << 16 // bbolt refuses to grow the file beyond it
	err := s.Update(func(tx *Tx) error { return Put(tx, "docs", "a", strings.Repeat("x", 1<<22)) })
	var fileErr *FileError
	if !errors.As(err, &fileErr) || fileErr.Op != "write" || fileErr.Path != s.Path() {
		t.Errorf("got %v, want an error that names the file", err)
	}
	update(t, s, func(tx *Tx) error {
		var v string
		_, err := Get(tx, "docs", "a", &v)
		if v != "before" {
			t.Errorf("after the write that failed the document is %.10q", v)
		}
		return errors.Join(err, Put(tx, "docs", "a", "after"))
	})
}

func TestClosedStore(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "db"))
	shut(t, s)
	if err := s.Update(func(*Tx) error { return nil }); err == nil || !strings.Contains(err.Error(), s.Path()) {
		t.Errorf("writing to a closed store gives %v", err)
	}
	if err := s.View(func(*Tx) error { return nil }); err == nil {
		t.Error("a closed store is read")
	}
}
