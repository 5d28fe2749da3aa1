# Copyright The Copse Authors
# SPDX-License-Identifier: Apache-2.0
"""What the migration jobs ask of their component's databases.

database.py begin ACCOUNT DATABASE     print "new" where the database is to be filled from nothing,
                                       else "old"
database.py end ACCOUNT DATABASE       it has been filled
database.py drop ACCOUNT DATABASE...   remove copies that were rehearsed on

Between begin and end a table stands in a new database: where a run was interrupted in between, the
next one finds it and fills the database as a new one.
"""

import os
import sys

import pymysql

SUFFIX = '_rehearsal'
MARK = 'copse_being_filled'


def connect(account, database=None):
    with open(f'/run/secrets/{account}_database') as secret:
        password = secret.read().strip()
    return pymysql.connect(
        host=os.environ['INTERNAL_ADDRESS'], port=3306, user=account, password=password,
        database=database, charset='utf8mb4', autocommit=True)


def query(connection, statement, values=()):
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchall()


def begin(account, database):
    with connect(account, database) as connection:
        tables = {row[0] for row in query(connection, 'SHOW TABLES')}
        if tables and MARK not in tables:
            return 'old'
        query(connection, f'CREATE TABLE IF NOT EXISTS {MARK} (nothing INT)')
        return 'new'


def end(account, database):
    with connect(account, database) as connection:
        query(connection, f'DROP TABLE IF EXISTS {MARK}')


def drop(account, *databases):
    for name in databases:
        if not name.endswith(SUFFIX):
            sys.exit(f'cannot drop {name}: it is no copy')
    with connect(account) as connection:
        for name in databases:
            query(connection, f'DROP DATABASE IF EXISTS `{name}`')


if __name__ == '__main__':
    actions = {'begin': begin, 'end': end, 'drop': drop}
    if len(sys.argv) < 4 or sys.argv[1] not in actions:
        sys.exit('usage: database.py begin|end|drop ACCOUNT DATABASE...')
    said = actions[sys.argv[1]](*sys.argv[2:])
    if said:
        print(said)
