# Copyright The Copse Authors
# SPDX-License-Identifier: Apache-2.0
"""What nova's migration jobs ask of its cells.

cells.py names      print the names of the cells, one a line
cells.py rehearse   have the copy of nova_api name the copies of the cells' databases
cells.py revert     set the versions that services have registered back, so that parts of an older
                    release start beside what a newer one has left
"""

import sys

from database import SUFFIX, connect, query

ACCOUNT = 'nova'
CELLS = ['nova', 'nova_cell0']


def names():
    with connect(ACCOUNT, 'nova_api') as connection:
        for (name,) in query(connection, 'SELECT name FROM cell_mappings ORDER BY id'):
            print(name)


# {path} is filled in from the job's own configuration, which names the copy. What names any other
# database would be migrated in earnest: nothing is rehearsed then.
def rehearse():
    with connect(ACCOUNT, 'nova_api' + SUFFIX) as connection:
        for number, name, url in query(connection, 'SELECT id, name, database_connection FROM cell_mappings'):
            address, mark, options = url.partition('?')
            server, _, database = address.rpartition('/')
            if database == '{path}' or database.endswith(SUFFIX):
                continue
            if database not in CELLS:
                sys.exit(f'cannot rehearse: cell {name} is in a database of its own, {database}, which has no copy')
            query(connection, 'UPDATE cell_mappings SET database_connection = %s WHERE id = %s',
                  (f'{server}/{database}{SUFFIX}{mark}{options}', number))


# At the older release that is the version it registers itself; at the newer one, that of the oldest
# release it works beside. Each part registers its own again when it starts.
def revert():
    # Loaded here: it is slow, and the other actions do without.
    from nova.objects import service
    newest = 0
    for database in CELLS:
        with connect(ACCOUNT, database) as connection:
            newest = max(newest, query(connection, 'SELECT COALESCE(MAX(version), 0) FROM services')[0][0])
    version = service.SERVICE_VERSION
    if newest <= version:
        version = service.SERVICE_VERSION_ALIASES[service.OLDEST_SUPPORTED_SERVICE_VERSION]
    for database in CELLS:
        with connect(ACCOUNT, database) as connection, connection.cursor() as cursor:
            changed = cursor.execute('UPDATE services SET version = %s WHERE version > %s', (version, version))
            print(f'{database}: {changed} services set back to version {version}')


if __name__ == '__main__':
    actions = {'names': names, 'rehearse': rehearse, 'revert': revert}
    if len(sys.argv) != 2 or sys.argv[1] not in actions:
        sys.exit('usage: cells.py names|rehearse|revert')
    actions[sys.argv[1]]()
