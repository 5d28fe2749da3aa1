# Copyright The Copse Authors
# SPDX-License-Identifier: Apache-2.0
"""Registers the cloud's services with keystone: accounts.py FILE

For each service of the JSON file: its account in the project "service", with the password from
/run/secrets/NAME_service and the roles admin and service; its entry in the catalogue; its
endpoints. What is there already is changed only where it differs, so it may run at any time, and
is run again when a password is rotated or an address changes. The administrator's password is
that of /run/secrets/keystone_admin.
"""

import json
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

DOMAIN = 'default'
# Behind the proxy keystone can be a moment away.
PATIENCE = 60


def secret(name):
    with open('/run/secrets/' + name) as file:
        return file.read().rstrip('\n')


class Keystone:
    def __init__(self, url):
        self.url = url
        self.token = None

    def request(self, method, path, body=None):
        """The answer's headers and content; waits for a keystone that is not there yet."""
        headers = {'Content-Type': 'application/json'}
        if self.token:
            headers['X-Auth-Token'] = self.token
        data = None if body is None else json.dumps(body).encode()
        deadline = time.monotonic() + PATIENCE
        while True:
            request = urllib.request.Request(self.url + path, data, headers, method=method)
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:
                    text = answer.read()
                    return answer.headers, json.loads(text) if text else None
            except urllib.error.HTTPError as error:
                if error.code not in (502, 503, 504) or time.monotonic() > deadline:
                    raise RuntimeError('%s %s: %s: %s' % (method, path, error, error.read().decode(errors='replace'))) from error
            except OSError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.5)

    def login(self, user, password, project):
        body = {'auth': {
            'identity': {'methods': ['password'], 'password': {'user': {
                'name': user, 'domain': {'id': DOMAIN}, 'password': password}}},
            'scope': {'project': {'name': project, 'domain': {'id': DOMAIN}}}}}
        headers, _ = self.request('POST', '/auth/tokens', body)
        return headers['X-Subject-Token']

    def accepts(self, user, password):
        """Whether that is the user's password."""
        body = {'auth': {'identity': {'methods': ['password'], 'password': {'user': {
            'name': user, 'domain': {'id': DOMAIN}, 'password': password}}}}}
        request = urllib.request.Request(self.url + '/auth/tokens', json.dumps(body).encode(), {'Content-Type': 'application/json'})
        try:
            with urllib.request.urlopen(request, timeout=30):
                return True
        except urllib.error.HTTPError as error:
            if error.code == 401:
                return False
            raise

    def ensure(self, kind, key, wanted):
        """The object of a kind that has the key's values; made, or changed where it differs."""
        query = urllib.parse.urlencode({name: wanted[name] for name in key})
        _, found = self.request('GET', '/%ss?%s' % (kind, query))
        there = found[kind + 's']
        if not there:
            print('%s: %s made' % (kind, wanted.get('name') or wanted['url']), flush=True)
            return self.request('POST', '/%ss' % kind, {kind: wanted})[1][kind]
        one = there[0]
        differs = {name: value for name, value in wanted.items() if one.get(name) != value}
        if differs:
            print('%s: %s changed' % (kind, wanted.get('name') or wanted['url']), flush=True)
            return self.request('PATCH', '/%ss/%s' % (kind, one['id']), {kind: differs})[1][kind]
        return one


def register(keystone, service, region, project, roles):
    name, password = service['name'], secret(service['name'] + '_service')
    user = keystone.ensure('user', ['name', 'domain_id'], {
        'name': name, 'domain_id': DOMAIN, 'enabled': True, 'default_project_id': project['id']})
    # A password that is set again would end the account's tokens.
    if not keystone.accepts(name, password):
        keystone.request('PATCH', '/users/' + user['id'], {'user': {'password': password}})
        print('user: password of %s set' % name, flush=True)
    for role in roles:
        keystone.request('PUT', '/projects/%s/users/%s/roles/%s' % (project['id'], user['id'], role['id']))
    entry = keystone.ensure('service', ['name', 'type'], {
        'name': name, 'type': service['type'], 'description': service['description'], 'enabled': True})
    for interface in ('public', 'internal', 'admin'):
        keystone.ensure('endpoint', ['service_id', 'interface', 'region_id'], {
            'service_id': entry['id'], 'interface': interface, 'region_id': region, 'enabled': True,
            'url': service['public'] if interface == 'public' else service['internal']})


def main():
    with open(sys.argv[1]) as file:
        wanted = json.load(file)
    keystone = Keystone(wanted['auth_url'])
    keystone.token = keystone.login('admin', secret('keystone_admin'), 'admin')
    project = keystone.ensure('project', ['name', 'domain_id'], {
        'name': 'service', 'domain_id': DOMAIN, 'description': 'Accounts of the cloud\'s services'})
    roles = [keystone.ensure('role', ['name'], {'name': role}) for role in ('admin', 'service')]
    for service in wanted['services']:
        register(keystone, service, wanted['region'], project, roles)


if __name__ == '__main__':
    main()
