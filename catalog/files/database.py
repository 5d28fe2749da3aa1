# Copyright The Copse Authors
# SPDX-License-Identifier: Apache-2.0
"""What the migration jobs ask of their component's databases.

database.py begin ACCOUNT DATABASE     print "new" where the database is to be filled from nothing,
                                       else "old"
database.py end ACCOUNT DATABASE       it has been filled
database.py drop ACCOUNT DATABASE...   remove copies that were rehearsed on
database.py contract ACCOUNT DATABASE COMMAND...
                                       run the command, which contracts the database, and say where
                                       it has changed nothing

Between begin and end a table stands in a new database: where a run was interrupted in between, the
next one finds it and fills the database as a new one.
"""

import os
import subprocess
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


# All that says how a database is made. A contract migration removes columns, tables and triggers.
SCHEMA = (
    'SELECT table_name, column_name, ordinal_position, column_default, is_nullable, column_type, extra'
    ' FROM information_schema.columns WHERE table_schema = %s ORDER BY 1, 2',
    'SELECT table_name, index_name, seq_in_index, column_name, non_unique'
    ' FROM information_schema.statistics WHERE table_schema = %s ORDER BY 1, 2, 3',
    'SELECT table_name, constraint_name, constraint_type'
    ' FROM information_schema.table_constraints WHERE table_schema = %s ORDER BY 1, 2',
    'SELECT event_object_table, trigger_name, action_statement'
    ' FROM information_schema.triggers WHERE trigger_schema = %s ORDER BY 1, 2',
    'SELECT table_name, view_definition FROM information_schema.views WHERE table_schema = %s ORDER BY 1',
)


def shape(account, database):
    """What contract migrations leave a trace in: the schema, and which of them have run."""
    with connect(account, database) as connection:
        found = [query(connection, statement, (database,)) for statement in SCHEMA]
        tables = {row[0] for row in query(connection, 'SHOW TABLES')}
        for table in sorted(tables):
            if table.startswith('alembic_version'):
                found.append(sorted(query(connection, f'SELECT * FROM `{table}`')))
        return found


def contract(account, database, *command):
    before = shape(account, database)
    status = subprocess.run(command).returncode
    if status:
        sys.exit(status)
    if shape(account, database) == before:
        return 'copse: there was nothing to contract'


if __name__ == '__main__':
    actions = {'begin': begin, 'end': end, 'drop': drop, 'contract': contract}
    if len(sys.argv) < 4 or sys.argv[1] not in actions:
        sys.exit('usage: database.py begin|end|drop|contract ACCOUNT DATABASE...')
    said = actions[sys.argv[1]](*sys.argv[2:])
    if said:
        print(said)
