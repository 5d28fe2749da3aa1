// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func document() *Document {
	return &Document{Containers: []Container{
		{Name: "mariadb", Set: "database-control", Component: "mariadb"},
		{Name: "keystone", Set: "openstack-interface", Component: "keystone"},
		{Name: "keystone-db-sync", Set: "openstack-interface", Component: "keystone"},
		{Name: "swift-proxy", Set: "storage-operation/swift", Component: "swift"},
		{Name: "cinder-volume", Set: "storage-operation", Component: "cinder"},
	}}
}

func TestSelect(t *testing.T) {
	for names, want := range map[string]string{
		"":                              "cinder-volume keystone keystone-db-sync mariadb swift-proxy",
		"mariadb":                       "mariadb",
		"keystone":                      "keystone",
		"component/keystone":            "keystone keystone-db-sync",
		"storage-operation":             "cinder-volume swift-proxy",
		"storage-operation/swift":       "swift-proxy",
		"swift":                         "swift-proxy",
		"set/openstack-interface":       "keystone keystone-db-sync",
		"cinder mariadb keystone":       "cinder-volume keystone mariadb",
		"database-control mariadb":      "mariadb",
		"set/swift component/cinder":    "cinder-volume swift-proxy",
		"openstack-interface keystone ": "keystone keystone-db-sync",
	} {
		got, err := document().Select(strings.Fields(names))
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%q selects %v (%v), want %s", names, got, err, want)
		}
	}
	var unknown *UnknownNameError
	if _, err := document().Select([]string{"keystne"}); !errors.As(err, &unknown) || unknown.Nearest != "keystone" {
		t.Errorf("keystne: %v; want keystone suggested", err)
	}
	if _, err := document().Select([]string{"set/keystone"}); err == nil {
		t.Error("set/keystone: there is no such set, and no error")
	}
}

func TestOrderPutsDependenciesFirst(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		n := rapid.IntRange(0, 12).Draw(r, "containers")
		containers := make([]Container, n)
		for i := range containers {
			containers[i].Name = string(rune('a' + i))
			for j := range i {
				if rapid.Bool().Draw(r, "depends") {
					containers[i].Depends = append(containers[i].Depends, Dependency{Name: containers[j].Name})
				}
			}
		}
		shuffled := rapid.Permutation(containers).Draw(r, "order")
		order, err := InOrder(shuffled)
		if err != nil || len(order) != n {
			r.Fatalf("order %v, %v", order, err)
		}
		for _, c := range containers {
			for _, d := range c.Depends {
				if slices.Index(order, d.Name) > slices.Index(order, c.Name) {
					r.Fatalf("%s comes after %s, which depends on it: %v", d.Name, c.Name, order)
				}
			}
		}
		again, err := InOrder(containers)
		if err != nil || !slices.Equal(again, order) {
			r.Fatalf("the order depends on the order of declaration: %v and %v", order, again)
		}
	})
}

func TestOrderNamesTheCircle(t *testing.T) {
	on := func(names ...string) []Dependency {
		var d []Dependency
		for _, n := range names {
			d = append(d, Dependency{Name: n})
		}
		return d
	}
	_, err := InOrder([]Container{
		{Name: "a", Depends: on("b")}, {Name: "b", Depends: on("c")}, {Name: "c", Depends: on("b")}, {Name: "d"},
	})
	var cycle *CycleError
	if !errors.As(err, &cycle) || !slices.Equal(cycle.Path, []string{"b", "c", "b"}) {
		t.Errorf("error %v; want the circle b → c → b", err)
	}
}

func sample() Container {
	return Container{
		Host: "h", Set: "s", Name: "api", Component: "api", Release: "2025.1",
		Spec: Spec{
			Image: "copse/api:1", Command: []string{"api"}, Environment: map[string]string{"A": "1", "OS_X__PASSWORD": "plain"},
			Mounts: []Mount{{Type: NamedVolume, Source: "v", Target: "/v"}}, Memory: 512 << 20,
		},
		Files:   []File{{Target: "/etc/a", Content: "x", Source: "a.yaml"}},
		Secrets: []SecretMount{{Name: "db", Target: "/run/secrets/db"}},
	}
}

// TestIdentity: what decides how a container runs changes it, and nothing else does.
func TestIdentity(t *testing.T) {
	versions := map[string]int{"db": 1}
	base := sample()
	identity := base.Identity(versions)
	if !strings.HasPrefix(identity, "1:") || len(identity) != 2+64 {
		t.Errorf("identity %q has not the form 1:<sha256>", identity)
	}
	for name, modify := range map[string]func(*Container){
		"image":        func(c *Container) { c.Spec.Image = "copse/api:2" },
		"environment":  func(c *Container) { c.Spec.Environment = map[string]string{"A": "2"} },
		"mount":        func(c *Container) { c.Spec.Mounts = []Mount{{Type: NamedVolume, Source: "w", Target: "/v"}} },
		"file content": func(c *Container) { c.Files = []File{{Target: "/etc/a", Content: "y"}} },
		"secret mount": func(c *Container) { c.Secrets = nil },
		"front end":    func(c *Container) { c.Frontend = &Frontend{} },
		"own cgroup":   func(c *Container) { c.OwnCgroup = !c.OwnCgroup },
	} {
		c := sample()
		modify(&c)
		if c.Identity(versions) == identity {
			t.Errorf("%s: the identity stays the same", name)
		}
	}
	if base.Identity(map[string]int{"db": 2}) == identity {
		t.Error("a rotated secret: the identity stays the same")
	}
	if base.Identity(map[string]int{"db": 1, "other": 5}) != identity {
		t.Error("the version of a secret that it does not have changes the identity")
	}
	for name, modify := range map[string]func(*Container){
		"check":        func(c *Container) { c.Check = &Check{Interval: time.Hour} },
		"dependencies": func(c *Container) { c.Depends = []Dependency{{Name: "x"}} },
		"update":       func(c *Container) { c.Update.Order = StartFirst },
		"file source":  func(c *Container) { c.Files = []File{{Target: "/etc/a", Content: "x", Source: "moved.yaml"}} },
	} {
		c := sample()
		modify(&c)
		if c.Identity(versions) != identity {
			t.Errorf("%s: the identity changes", name)
		}
	}
}

// TestIdentityCoversTheSpec: a field that is added to Spec counts without anybody thinking of it.
func TestIdentityCoversTheSpec(t *testing.T) {
	base := sample()
	identity := base.Identity(nil)
	spec := reflect.TypeFor[Spec]()
	for i := range spec.NumField() {
		c := sample()
		field := reflect.ValueOf(&c.Spec).Elem().Field(i)
		switch field.Kind() {
		case reflect.String:
			field.SetString(field.String() + "x")
		case reflect.Bool:
			field.SetBool(!field.Bool())
		case reflect.Int64:
			field.SetInt(field.Int() + 1)
		case reflect.Float64:
			field.SetFloat(field.Float() + 1)
		case reflect.Slice:
			field.Set(reflect.Append(field, reflect.Zero(field.Type().Elem())))
		case reflect.Map:
			grown := reflect.MakeMap(field.Type())
			grown.SetMapIndex(reflect.ValueOf("new"), reflect.Zero(field.Type().Elem()))
			field.Set(grown)
		default:
			t.Fatalf("field %s has kind %s, which this test does not know", spec.Field(i).Name, field.Kind())
		}
		if c.Identity(nil) == identity {
			t.Errorf("field %s is not part of the identity", spec.Field(i).Name)
		}
	}
}

func TestDifferencesAreInWords(t *testing.T) {
	now := sample()
	now.Release = "2026.1"
	now.Spec.Image = "copse/api:2"
	now.Spec.Environment = map[string]string{"A": "2", "B": "new", "OS_X__PASSWORD": "other"}
	now.Spec.Memory = 1 << 30
	now.Spec.ReadOnly = true
	now.Files[0].Content = "y"
	was := sample()
	got := Differences(&was, &now, map[string]int{"db": 1}, map[string]int{"db": 2})
	want := []string{
		"release 2025.1 → 2026.1", "image copse/api:1 → copse/api:2",
		"environment A 1 → 2", "environment B added: new", "environment OS_X__PASSWORD (not shown) → (not shown)",
		"file /etc/a changed", "secret db rotated (version 1 → 2)", "memory limit 512 MiB → 1024 MiB", "read only changed",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if same := Differences(&was, &was, nil, nil); same != nil {
		t.Errorf("a container differs from itself: %v", same)
	}
}

// TestDifferencesShowNoPasswords: an operator may have written one down where it does not belong.
func TestDifferencesShowNoPasswords(t *testing.T) {
	was, now := sample(), sample()
	was.Spec.Environment = map[string]string{"HTTPS_PROXY": "http://me:hunter2@proxy:3128", "URL": "http://a/b:c@d"}
	now.Spec.Environment = map[string]string{"HTTPS_PROXY": "http://me:hunter3@proxy:3128", "URL": "db://x:{{secret db | urlquote}}@db"}
	was.Spec.Command, now.Spec.Command = []string{"run", "redis://:hunter2@cache"}, []string{"run", "redis://:hunter3@cache"}
	was.Spec.LogOptions, now.Spec.LogOptions = map[string]string{"splunk-token": "hunter2"}, map[string]string{"splunk-token": "hunter3"}
	want := []string{
		"command (not shown) → (not shown)", "environment HTTPS_PROXY (not shown) → (not shown)",
		"environment URL http://a/b:c@d → db://x:{{secret db | urlquote}}@db", "log options changed",
	}
	if got := Differences(&was, &now, nil, nil); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestDifferencesNameEveryChangeOfIdentity: a plan never says "replace" without a cause.
func TestDifferencesNameEveryChangeOfIdentity(t *testing.T) {
	for name, modify := range map[string]func(*Container){
		"user":        func(c *Container) { c.Spec.User = "1:1" },
		"mounts":      func(c *Container) { c.Spec.Mounts = nil },
		"cap_add":     func(c *Container) { c.Spec.CapAdd = []string{"NET_ADMIN"} },
		"entrypoint":  func(c *Container) { c.Spec.Entrypoint = []string{"x"} },
		"front end":   func(c *Container) { c.Frontend = &Frontend{} },
		"file mode":   func(c *Container) { c.Files[0].Mode = 0o600 },
		"no file":     func(c *Container) { c.Files = nil },
		"no secret":   func(c *Container) { c.Secrets = nil },
		"own cgroup":  func(c *Container) { c.OwnCgroup = true },
		"stop period": func(c *Container) { c.Spec.StopGracePeriod = time.Minute },
	} {
		was, now := sample(), sample()
		modify(&now)
		if was.Identity(nil) == now.Identity(nil) {
			t.Errorf("%s: the identity stays the same", name)
		}
		if len(Differences(&was, &now, nil, nil)) == 0 {
			t.Errorf("%s: the identity changes and no words say why", name)
		}
	}
}
