// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
)

// object is a resource of a cloud.
type object map[string]any

func (o object) text(key string) string {
	s, _ := o[key].(string)
	return s
}

// cloud is an OpenStack in memory, with as much of its APIs as verify uses and with the order that
// the real one enforces: what is in use is not removed.
type cloud struct {
	*httptest.Server
	mu       sync.Mutex
	services []string
	objects  map[string]map[string]object // kind → id
	requests []string
	serial   int
	// fault decides what becomes of the n-th request, counted from 1.
	fault func(n int, method, path string) mishap
	// servers take so many looks to be active, and to be gone.
	looks int
	// broken says what does not work, for the checks.
	broken string
}

// mishap is what goes wrong with a request.
type mishap int

const (
	none    mishap = iota
	refused        // nothing is done, the answer is 500
	lost           // it is done, the answer is 500
)

func newCloud(t *testing.T, services ...string) *cloud {
	t.Helper()
	c := &cloud{services: services, objects: map[string]map[string]object{}}
	c.Server = httptest.NewServer(c)
	t.Cleanup(c.Close)
	if slices.Contains(services, "network") {
		c.put("networks", object{"name": "provider", "router:external": true, "project_id": "admin-project", "subnets": []string{"s"}})
	}
	c.put("projects", object{"name": "admin"})
	c.put("users", object{"name": "admin"})
	if slices.Contains(services, "image") {
		c.put("images", object{"name": "debian", "owner": "admin-project", "status": "active"})
	}
	return c
}

func everything() []string { return []string{"identity", "image", "placement", "compute", "network"} }

func (c *cloud) credentials() map[string]string {
	return map[string]string{
		"OS_AUTH_URL": c.URL + "/identity/v3", "OS_USERNAME": "admin", "OS_PASSWORD": "the administrator's",
		"OS_PROJECT_NAME": "admin", "OS_USER_DOMAIN_NAME": "Default", "OS_PROJECT_DOMAIN_NAME": "Default",
		"OS_REGION_NAME": "north", "OS_INTERFACE": "public",
	}
}

// put stores an object under a new identity.
func (c *cloud) put(kind string, o object) object {
	c.serial++
	o["id"] = fmt.Sprintf("%s-%d", strings.TrimSuffix(kind, "s"), c.serial)
	if c.objects[kind] == nil {
		c.objects[kind] = map[string]object{}
	}
	c.objects[kind][o.text("id")] = o
	return o
}

// names lists all that there is, "kind name".
func (c *cloud) names() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var names []string
	for kind, all := range c.objects {
		for _, o := range all {
			name := o.text("name")
			if kind == "floatingips" {
				name = o.text("description")
			}
			names = append(names, kind+" "+name)
		}
	}
	slices.Sort(names)
	return names
}

func (c *cloud) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.requests)
}

// reply is an answer.
type reply struct {
	status int
	body   any
}

func no(status int, format string, args ...any) reply {
	return reply{status, object{"error": object{"message": fmt.Sprintf(format, args...)}}}
}

func (c *cloud) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.Header.Get("Upgrade") == "websocket" {
		c.screen(w, r)
		return
	}
	path := strings.Trim(r.URL.Path, "/")
	c.requests = append(c.requests, r.Method+" "+path)
	fate := none
	if c.fault != nil {
		fate = c.fault(len(c.requests), r.Method, path)
	}
	answer := no(500, "something broke")
	if fate != refused {
		answer = c.answer(w, r, path)
	}
	if fate == lost {
		answer = no(500, "the answer is lost")
	}
	if content, ok := answer.body.([]byte); ok {
		w.WriteHeader(answer.status)
		_, _ = w.Write(content)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(answer.status)
	if answer.body != nil {
		_ = json.NewEncoder(w).Encode(answer.body)
	}
}

// singular are the envelopes of single objects.
func singular() map[string]string {
	return map[string]string{
		"projects": "project", "users": "user", "flavors": "flavor", "servers": "server", "networks": "network",
		"subnets": "subnet", "routers": "router", "ports": "port", "security-groups": "security_group",
		"security-group-rules": "security_group_rule", "floatingips": "floatingip",
	}
}

func (c *cloud) answer(w http.ResponseWriter, r *http.Request, path string) reply {
	if path == "vnc_auto.html" {
		return reply{200, []byte("<title>noVNC</title>")}
	}
	if path == "identity/v3/auth/tokens" {
		return c.token(w, r)
	}
	who := r.Header.Get("X-Auth-Token")
	parts := strings.Split(path, "/")
	if len(parts) < 3 {
		version := map[string]string{"image": "v2.0", "network": "v2.0", "compute": "v2.1", "identity": "v3"}[parts[0]]
		return reply{200, object{"versions": []object{{"id": version, "status": "CURRENT"}}}}
	}
	if who == "" {
		return no(401, "%s %s without a token", r.Method, path)
	}
	kind, rest := parts[2], parts[3:]
	var body object
	if r.Header.Get("Content-Type") == "application/json" {
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			return no(400, "%v", err)
		}
	}
	switch {
	case kind == "roles":
		return reply{200, object{"roles": []object{{"id": "role-1", "name": "member"}}}}
	case kind == "images":
		return c.images(r, who, rest, body)
	case len(rest) > 1:
		return c.action(r, kind, rest, body)
	case r.Method == http.MethodPost:
		return c.create(kind, who, body)
	case r.Method == http.MethodDelete:
		return c.remove(kind, rest[0])
	case len(rest) == 1 && rest[0] != "detail":
		return c.show(kind, rest[0])
	}
	all := []object{}
	for _, id := range slices.Sorted(maps.Keys(c.objects[kind])) {
		o := c.objects[kind][id]
		if r.URL.Query().Get("router:external") == "true" && o["router:external"] != true {
			continue
		}
		all = append(all, o)
	}
	return reply{200, object{strings.ReplaceAll(kind, "-", "_"): all}}
}

// token logs in; the token is the identity of the project that it is for.
func (c *cloud) token(w http.ResponseWriter, r *http.Request) reply {
	var request struct {
		Auth struct {
			Identity struct {
				Password struct {
					User struct{ Name, Password string }
				}
			}
			Scope struct {
				Project struct{ ID, Name string }
			}
		}
	}
	if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
		return no(400, "%v", err)
	}
	user, project := request.Auth.Identity.Password.User, request.Auth.Scope.Project
	if user.Name == "admin" {
		project.ID = "admin-project"
		if user.Password != "the administrator's" {
			return no(401, "The request you have made requires authentication.")
		}
	} else if p := c.objects["projects"][project.ID]; p == nil || p["member"] != true || p.text("name") != user.Name {
		return no(401, "user %s may not into project %s", user.Name, project.ID)
	}
	prefixes := map[string]string{"identity": "/identity/v3", "image": "/image", "compute": "/compute/v2.1", "network": "/network", "placement": "/placement"}
	catalog := []object{}
	for _, service := range c.services {
		catalog = append(catalog, object{"type": service, "name": service, "endpoints": []object{
			{"interface": "public", "region": "north", "region_id": "north", "url": c.URL + prefixes[service]},
		}})
	}
	w.Header().Set("X-Subject-Token", project.ID)
	return reply{201, object{"token": object{
		"expires_at": "2099-01-01T00:00:00.000000Z", "catalog": catalog, "user": object{"id": "u", "name": user.Name},
		"project": object{"id": project.ID, "name": project.Name, "domain": object{"id": "default", "name": "Default"}},
	}}}
}

func (c *cloud) create(kind, who string, body object) reply {
	envelope := singular()[kind]
	inner, ok := body[envelope].(map[string]any)
	if !ok {
		return no(400, "no %s in the body", envelope)
	}
	o := object(inner)
	if kind != "projects" && kind != "users" && kind != "flavors" {
		if outside := o["router:external"] == true || c.objects["networks"][o.text("network_id")]["router:external"] == true; outside != (who == "admin-project") {
			return no(403, "a %s is the user's to make", kind)
		}
		o["project_id"], o["tenant_id"] = who, who
	}
	c.put(kind, o)
	switch kind {
	case "networks":
		if who != "admin-project" {
			c.put("security-groups", object{"name": "default", "project_id": who})
		}
	case "subnets":
		c.put("ports", object{"network_id": o["network_id"], "device_owner": "network:dhcp", "project_id": who})
	case "ports":
		o["fixed_ips"] = []object{{"ip_address": "100.112.37.7", "subnet_id": "s"}}
	case "floatingips":
		o["floating_ip_address"] = "203.0.113.9"
	case "servers":
		o["status"], o["OS-EXT-STS:task_state"], o["looks"] = "BUILD", "spawning", c.looks
	}
	if kind == "servers" {
		return reply{202, object{envelope: o}}
	}
	return reply{201, object{envelope: o}}
}

func (c *cloud) show(kind, id string) reply {
	o := c.objects[kind][id]
	if o == nil {
		return no(404, "no %s %s", kind, id)
	}
	if kind == "servers" {
		looks, _ := o["looks"].(int)
		o["looks"] = looks - 1
		switch {
		case looks > 0:
		case o["deleted"] == true:
			delete(c.objects[kind], id)
			return no(404, "no server %s", id)
		case c.broken == "server":
			o["status"] = "ERROR"
			if looks < -1 { // why comes a moment later
				o["fault"] = object{"message": "No valid host was found."}
			}
		case c.broken != "scheduling":
			o["status"], o["OS-EXT-STS:task_state"], o["OS-EXT-SRV-ATTR:host"] = "ACTIVE", nil, "node-1"
		}
	}
	return reply{200, object{singular()[kind]: o}}
}

func (c *cloud) action(r *http.Request, kind string, rest []string, body object) reply {
	id := rest[0]
	switch {
	case kind == "projects" && rest[1] == "users": // a role is given
		c.objects[kind][id]["member"] = true
		return reply{204, nil}
	case kind == "flavors": // access is given
		return reply{200, object{"flavor_access": []object{}}}
	case rest[1] == "add_router_interface":
		network := c.objects["subnets"][fmt.Sprint(body["subnet_id"])].text("network_id")
		port := c.put("ports", object{"network_id": network, "device_id": id, "device_owner": "network:router_interface", "project_id": c.objects[kind][id]["project_id"]})
		return reply{200, object{"id": id, "port_id": port["id"]}}
	case rest[1] == "remove_router_interface":
		delete(c.objects["ports"], fmt.Sprint(body["port_id"]))
		return reply{200, object{"id": id}}
	case rest[1] == "remote-consoles":
		return reply{200, object{"remote_console": object{"protocol": "vnc", "type": "novnc", "url": c.URL + "/vnc_auto.html?path=%3Ftoken%3Dthe-console-token"}}}
	case kind == "servers" && body["os-getConsoleOutput"] != nil:
		log := "\ncopse-guest: Linux 6.12 is up after 3 s\n\ncopse-guest: ready\n"
		if c.broken == "console-log" {
			log = "Kernel panic - not syncing\n"
		}
		return reply{200, object{"output": log}}
	}
	return no(404, "%s %s", r.Method, r.URL.Path)
}

func (c *cloud) images(r *http.Request, who string, rest []string, body object) reply {
	if r.Method == http.MethodPost {
		body["owner"], body["status"] = who, "queued"
		return reply{201, c.put("images", body)}
	}
	if len(rest) == 0 {
		all := []object{}
		for _, id := range slices.Sorted(maps.Keys(c.objects["images"])) {
			all = append(all, c.objects["images"][id])
		}
		return reply{200, object{"images": all}}
	}
	o := c.objects["images"][rest[0]]
	switch {
	case o == nil:
		return no(404, "no image %s", rest[0])
	case r.Method == http.MethodDelete:
		return c.remove("images", rest[0])
	case r.Method == http.MethodPut:
		content, err := io.ReadAll(r.Body)
		if err != nil {
			return no(400, "%v", err)
		}
		if c.broken == "image" {
			content = content[1:]
		}
		o["status"], o["content"] = "active", content
		return reply{204, nil}
	case len(rest) == 2:
		return reply{200, o["content"]}
	}
	return reply{200, o}
}

// remove removes an object that nothing uses.
func (c *cloud) remove(kind, id string) reply {
	o := c.objects[kind][id]
	if o == nil {
		return no(404, "no %s %s", kind, id)
	}
	users := map[string]string{"networks": "network_id", "routers": "device_id", "projects": "project_id"}
	for other, all := range c.objects {
		for _, user := range all {
			used := users[kind] != "" && user.text(users[kind]) == id
			if kind == "networks" && (other == "subnets" || user.text("device_owner") == "network:dhcp") {
				used = false // these go with it
			}
			if kind == "projects" && user.text("owner") == id {
				used = true
			}
			if list, ok := user["security_groups"].([]any); ok && kind == "security-groups" && slices.Contains(list, any(id)) {
				used = true
			}
			if other == "servers" && kind == "ports" || other == "servers" && kind == "images" && user.text("imageRef") == id || other == "floatingips" && kind == "ports" && user.text("port_id") == id {
				used = true
			}
			if used {
				return no(409, "%s %s is in use by %s %s", kind, id, other, user.text("id"))
			}
		}
	}
	switch kind {
	case "servers":
		o["deleted"], o["looks"], o["OS-EXT-STS:task_state"] = true, c.looks, "deleting"
		return reply{204, nil}
	case "networks":
		for _, other := range []string{"subnets", "ports"} {
			maps.DeleteFunc(c.objects[other], func(_ string, user object) bool { return user.text("network_id") == id })
		}
	case "security-groups":
		maps.DeleteFunc(c.objects["security-group-rules"], func(_ string, rule object) bool { return rule.text("security_group_id") == id })
	}
	delete(c.objects[kind], id)
	return reply{204, nil}
}

// screen is a web socket that speaks VNC, after a ping.
func (c *cloud) screen(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Get("token") != "the-console-token" || c.broken == "console" {
		w.WriteHeader(403)
		return
	}
	w.Header().Set("Connection", "Upgrade")
	w.Header().Set("Upgrade", "websocket")
	w.WriteHeader(http.StatusSwitchingProtocols)
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	_, _ = conn.Write([]byte("\x89\x00\x82\x0cRFB 003.008\n"))
}
