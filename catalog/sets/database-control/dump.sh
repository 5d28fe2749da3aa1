#!/bin/bash
# Copyright The Copse Authors
# SPDX-License-Identifier: Apache-2.0
#
# Saves and puts back the databases of one component:
#
#   dump.sh dump COMPONENT DATABASE...      save them, and load a copy of each to rehearse on
#   dump.sh restore COMPONENT DATABASE...   put the newest dump back
#   dump.sh all                             save everything that the server has
#
# It reaches the server as the system user mysql, through the socket beside the data. A dump is one
# compressed file of SQL with all of a component's databases as they were at one moment.
set -euo pipefail
# What is saved has the cloud's passwords and keys in it.
umask 077

directory=/var/lib/dumps
socket=/var/lib/mysql/mysqld.sock
keep=3

say() { printf '%s\n' "$*"; }

fail() {
	printf '%s\n' "$*" >&2
	exit 1
}

client() { mariadb --no-defaults --socket="$socket" --batch --skip-column-names "$@"; }

# Without a date and without locks: equal data makes equal dumps, and services go on writing.
save() {
	mariadb-dump --no-defaults --socket="$socket" --single-transaction --quick --hex-blob \
		--routines --triggers --events --skip-dump-date --default-character-set=utf8mb4 "$@"
}

# A file has its name only when it is whole. The digits keep one component's files apart from those
# of another whose name begins the same way.
write() { # PREFIX ARGUMENT-OF-SAVE...
	local prefix=$1 file
	shift
	rm -f "$directory/$prefix"-*.part
	file=$directory/$prefix-$(date --utc +%Y%m%dT%H%M%SZ).sql.gz
	save "$@" | gzip --fast >"$file.part"
	sync "$file.part"
	mv "$file.part" "$file"
	sync "$directory"
	say "saved in ${file##*/}, $(stat --format=%s "$file") bytes"
}

dumps() { # PREFIX: its files, the oldest first
	find "$directory" -maxdepth 1 -name "$1-[0-9]*T[0-9]*Z.sql.gz" | sort
}

thin() { # PREFIX NUMBER: keep that many
	dumps "$1" | head --lines=-"$2" | xargs --no-run-if-empty rm -f --
}

quoted() { # DATABASE...: 'a','b'
	local list
	printf -v list "'%s'," "$@"
	say "${list%,}"
}

# The copies lie beside the data, and a full disk stops the database.
room() { # DATABASE...
	local size free
	size=$(client --execute="SELECT CAST(COALESCE(SUM(data_length + index_length), 0) AS UNSIGNED)
		FROM information_schema.tables WHERE table_schema IN ($(quoted "$@"))")
	free=$(df --output=avail --block-size=1 "$(dirname "$socket")" | tail --lines=1)
	if ((free < size * 3 / 2 + 256 * 1024 * 1024)); then
		fail "cannot copy $*: the copy of $size bytes needs half as much again and 256 MiB, and the database's disk has $free bytes left: free some, then try again"
	fi
}

# The dump is what is loaded, so that it is known to load. Every line that names a database is
# written anew; one that is not as expected ends it, so that nothing is ever loaded into the original.
copy() { # FILE ACCOUNT DATABASE...
	local file=$1 account=$2 database collation
	shift 2
	for database in "$@"; do
		collation=$(client --execute="SELECT default_collation_name FROM information_schema.schemata
			WHERE schema_name = '$database'")
		client --execute="
			DROP DATABASE IF EXISTS \`${database}_rehearsal\`;
			CREATE DATABASE \`${database}_rehearsal\` COLLATE $collation;
			GRANT ALL PRIVILEGES ON \`${database//_/\\_}\\_rehearsal\`.* TO '$account'@'%';"
	done
	# shellcheck disable=SC2016 # the backquotes are SQL's
	gzip --decompress --stdout "$file" |
		sed --regexp-extended -e '/^CREATE DATABASE .*;$/d' \
			-e 's/^USE `([a-z0-9_]+)`;$/USE `\1_rehearsal`;/' -e t \
			-e '/^(USE|CREATE DATABASE|DROP DATABASE) /Q1' |
		client
	say "loaded it as ${*/%/_rehearsal}"
}

drop() { # DATABASE...
	local database
	for database in "$@"; do
		client --execute="DROP DATABASE IF EXISTS \`$database\`"
	done
}

# What is put aside is saved first, in one file beside the dumps.
restore() { # COMPONENT DATABASE...
	local component=$1 newest
	shift
	newest=$(dumps "$component" | tail --lines=1)
	[ -n "$newest" ] || fail "cannot restore $*: there is no dump of $component: one is made before each upgrade"
	gzip --test "$newest" || fail "cannot restore $*: ${newest##*/} is damaged: name another as docs/databases.md says"
	write "replaced-$component" --databases "$@"
	thin "replaced-$component" "$keep"
	drop "$@" "${@/%/_rehearsal}"
	gzip --decompress --stdout "$newest" | client
	say "put back ${newest##*/}; what was there is in $(dumps "replaced-$component" | tail --lines=1 | sed 's,.*/,,') alone"
}

client --execute='DO 0' || fail "cannot reach the database: it does not run: \"copse start mariadb\", then try again"
case $1 in
dump)
	component=$2
	shift 2
	room "$@"
	write "$component" --databases "$@"
	thin "$component" "$keep"
	copy "$(dumps "$component" | tail --lines=1)" "$component" "$@"
	;;
restore)
	shift
	restore "$@"
	;;
all)
	write all --all-databases
	thin all "$keep"
	;;
*)
	fail "no such action: $1"
	;;
esac
