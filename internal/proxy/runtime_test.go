// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseServersState(t *testing.T) {
	const answer = `1
# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_port
3 keystone 1 a 127.0.0.1 2 4 1 34001
3 keystone 2 b ::1 0 5 1 34002
4 glance 1 a 127.0.0.1 2 12 1 34003
4 glance 2 b 127.0.0.1 2 0 1 34004`
	got, err := parseServersState(answer)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]live{
		"keystone/a": {netip.MustParseAddrPort("127.0.0.1:34001"), Ready},
		"keystone/b": {netip.MustParseAddrPort("[::1]:34002"), Maint},
		"glance/a":   {netip.MustParseAddrPort("127.0.0.1:34003"), Drain},
		"glance/b":   {netip.MustParseAddrPort("127.0.0.1:34004"), Ready},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(live{}), cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
		t.Errorf("servers (-want +got):\n%s", diff)
	}
	for _, bad := range []string{"", "1", "Permission denied", "1\n# srv_addr\nnowhere", "1\n# srv_addr srv_port\n127.0.0.1 x"} {
		if _, err := parseServersState(bad); err == nil {
			t.Errorf("%q is understood", bad)
		}
	}
}

func TestParseStat(t *testing.T) {
	const answer = "# pxname,svname,qcur,qmax,scur,smax,slim,stot,\n" +
		"keystone,FRONTEND,,,7,9,4096,100,\nkeystone,a,0,0,6,7,,99,\nglance,FRONTEND,,,0,9,0,100,"
	got, err := parseStat(answer)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]stat{"keystone/FRONTEND": {7, 4096}, "keystone/a": {6, -1}, "glance/FRONTEND": {0, 0}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(stat{})); diff != "" {
		t.Errorf("stats (-want +got):\n%s", diff)
	}
	for _, bad := range []string{"", "Can't find the target PID", "# a,b\n1,2", "# pxname,svname,scur,slim\nk,a", "# pxname,svname,scur,slim\nk,a,x,"} {
		if _, err := parseStat(bad); err == nil {
			t.Errorf("%q is understood", bad)
		}
	}
}

func TestParseProcesses(t *testing.T) {
	const answer = `#<PID>          <type>          <reloads>       <uptime>        <version>
1162            master          5 [failed: 2]   0d00h02m07s     3.0.11
# workers
1271            worker          1               0d00h00m00s     3.0.11
# old workers
1233            worker          3               0d00h00m43s     3.0.11
1200            worker          4               0d00h00m53s     3.0.11
# programs
`
	got := parseProcesses(answer)
	if !got.failed || !slices.Equal(got.current, []string{"1271"}) || !slices.Equal(got.former, []string{"1233", "1200"}) {
		t.Errorf("got %+v", got)
	}
}
