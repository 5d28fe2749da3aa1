// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package containerapi

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// accounts is what /etc/passwd and /etc/group of the image say. No other
// source of names is asked: an image is complete in itself.
type accounts struct {
	users  map[string]ids // uid and primary gid
	groups map[string]int
}

// ids are the numbers of an owner.
type ids struct{ uid, gid int }

func readAccounts(tree filesystem) (accounts, error) {
	const passwdFile, groupFile = "/etc/passwd", "/etc/group"
	passwd, err := os.ReadFile(tree.host(passwdFile))
	if err != nil && !os.IsNotExist(err) {
		return accounts{}, fmt.Errorf("cannot read the users of the image: %w", err)
	}
	group, err := os.ReadFile(tree.host(groupFile))
	if err != nil && !os.IsNotExist(err) {
		return accounts{}, fmt.Errorf("cannot read the groups of the image: %w", err)
	}
	return parseAccounts(string(passwd), string(group)), nil
}

// parseAccounts reads passwd(5) and group(5). Of a name given twice the first
// counts, as in the C library; lines it cannot use are passed over.
func parseAccounts(passwd, group string) accounts {
	result := accounts{users: map[string]ids{}, groups: map[string]int{}}
	for line := range strings.Lines(passwd) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), ":")
		if len(fields) < 4 {
			continue
		}
		uid, uidErr := strconv.Atoi(fields[2])
		gid, gidErr := strconv.Atoi(fields[3])
		if _, known := result.users[fields[0]]; !known && uidErr == nil && gidErr == nil {
			result.users[fields[0]] = ids{uid: uid, gid: gid}
		}
	}
	for line := range strings.Lines(group) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), ":")
		if len(fields) < 3 {
			continue
		}
		gid, err := strconv.Atoi(fields[2])
		if _, known := result.groups[fields[0]]; !known && err == nil {
			result.groups[fields[0]] = gid
		}
	}
	return result
}

// resolve finds the numbers of an owner. Without a group it is the group that
// has the user's name or, where there is none, the user's primary group.
func (a accounts) resolve(owner Owner, what string) (ids, error) {
	user, known := a.users[owner.User]
	if !known {
		return ids{}, fault(UserNotFound, "the owner of %s, user %q, is not in /etc/passwd of the image", what, owner.User)
	}
	if owner.Group == "" {
		if gid, named := a.groups[owner.User]; named {
			user.gid = gid
		}
		return user, nil
	}
	gid, known := a.groups[owner.Group]
	if !known {
		return ids{}, fault(UserNotFound, "the owner of %s, group %q, is not in /etc/group of the image", what, owner.Group)
	}
	user.gid = gid
	return user, nil
}
