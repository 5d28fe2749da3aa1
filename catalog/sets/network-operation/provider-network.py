# Copyright The Copse Authors
# SPDX-License-Identifier: Apache-2.0
"""Makes the provider network in neutron, with its subnet, from the environment.

What is there already stays as it is: an operator may have changed it, and others may use it. Only
where its subnet is another network than the one that is asked for does this fail.
"""

import ipaddress
import json
import os
import sys
import urllib.error
import urllib.parse
import urllib.request


class Neutron:
    def __init__(self, auth_url, region):
        with open('/run/secrets/neutron_service') as file:
            password = file.read().rstrip('\n')
        domain = {'id': 'default'}
        body = {'auth': {
            'identity': {'methods': ['password'], 'password': {'user': {'name': 'neutron', 'password': password, 'domain': domain}}},
            'scope': {'project': {'name': 'service', 'domain': domain}}}}
        self.url, self.token = auth_url, None
        headers, answer = self.request('POST', '/auth/tokens', body)
        self.token = headers['X-Subject-Token']
        self.url = next(
            endpoint['url'] + '/v2.0' for entry in answer['token']['catalog'] if entry['type'] == 'network'
            for endpoint in entry['endpoints'] if endpoint['interface'] == 'internal' and endpoint['region_id'] == region)

    def request(self, method, path, body=None):
        headers = {'Content-Type': 'application/json'}
        if self.token:
            headers['X-Auth-Token'] = self.token
        data = None if body is None else json.dumps(body).encode()
        try:
            with urllib.request.urlopen(urllib.request.Request(self.url + path, data, headers, method=method), timeout=60) as answer:
                return answer.headers, json.load(answer)
        except urllib.error.HTTPError as error:
            sys.exit('%s %s: %s: %s' % (method, path, error, error.read().decode(errors='replace')))

    def find(self, kind, **query):
        return self.request('GET', '/%ss?%s' % (kind, urllib.parse.urlencode(query)))[1][kind + 's']

    def make(self, kind, **wanted):
        return self.request('POST', '/%ss' % kind, {kind: wanted})[1][kind]


def main():
    name, prefix = os.environ['PROVIDER_NAME'], os.environ['PROVIDER_NETWORK']
    neutron = Neutron(os.environ['AUTH_URL'], os.environ['REGION'])

    found = neutron.find('network', **{'provider:physical_network': name, 'provider:network_type': 'flat'})
    network = found[0] if found else neutron.make('network', **{
        'name': name, 'router:external': True,
        'provider:network_type': 'flat', 'provider:physical_network': name})
    subnets = neutron.find('subnet', network_id=network['id'])
    if any(subnet['cidr'] == prefix for subnet in subnets):
        return
    if subnets:
        sys.exit('the provider network has the subnet %s, and PROVIDER_NETWORK is %s: delete the one, or set the other back'
                 % (', '.join(subnet['cidr'] for subnet in subnets), prefix))
    wanted = {
        'name': name, 'network_id': network['id'], 'cidr': prefix, 'ip_version': ipaddress.ip_network(prefix).version,
        'gateway_ip': os.environ['PROVIDER_GATEWAY'], 'enable_dhcp': False}
    if os.environ['PROVIDER_POOL']:
        first, _, last = os.environ['PROVIDER_POOL'].partition('-')
        wanted['allocation_pools'] = [{'start': first.strip(), 'end': last.strip()}]
    neutron.make('subnet', **wanted)
    print('provider network %s with %s made' % (name, prefix))


if __name__ == '__main__':
    main()
