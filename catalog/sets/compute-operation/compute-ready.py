# Copyright The Copse Authors
# SPDX-License-Identifier: Apache-2.0
"""Whether a virtual machine that is sent to this host can be started and plugged in.

nova must have heard of its compute service since this container started, placement must know what
the host has, and neutron must have the agent of its switch alive. Asked with nova's own account.
"""

import configparser
import datetime
import json
import os
import socket
import sys
import urllib.error
import urllib.parse
import urllib.request


def started():
    """When this container's first process started, in UTC."""
    with open('/proc/1/stat') as file:
        ticks = int(file.read().rpartition(')')[2].split()[19])
    with open('/proc/uptime') as file:
        uptime = float(file.read().split()[0])
    age = uptime - ticks / os.sysconf('SC_CLK_TCK')
    return datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None) - datetime.timedelta(seconds=age)


class Cloud:
    def __init__(self, account):
        domain = {'name': account['user_domain_name']}
        body = {'auth': {
            'identity': {'methods': ['password'], 'password': {'user': {
                'name': account['username'], 'password': account['password'], 'domain': domain}}},
            'scope': {'project': {'name': account['project_name'], 'domain': {'name': account['project_domain_name']}}}}}
        request = urllib.request.Request(account['auth_url'] + '/auth/tokens', json.dumps(body).encode(), {'Content-Type': 'application/json'})
        with urllib.request.urlopen(request, timeout=10) as answer:
            self.token = answer.headers['X-Subject-Token']
            catalogue = json.load(answer)['token']['catalog']
        self.urls = {
            entry['type']: endpoint['url'] for entry in catalogue for endpoint in entry['endpoints']
            if endpoint['interface'] == 'internal' and endpoint['region_id'] == account['region_name']}

    def get(self, service, path, **query):
        url = '%s%s?%s' % (self.urls[service], path, urllib.parse.urlencode(query))
        try:
            with urllib.request.urlopen(urllib.request.Request(url, headers={'X-Auth-Token': self.token}), timeout=10) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            sys.exit('%s answers %s: %s' % (service, url, error))


def main():
    config = configparser.ConfigParser(interpolation=None, strict=False)
    config.read(os.environ['COPSE_CONFIG_FILE'])
    host = socket.gethostname()
    cloud = Cloud(config['neutron'])

    services = cloud.get('compute', '/os-services', host=host, binary='nova-compute')['services']
    if not services:
        sys.exit('nova does not know nova-compute of %s yet' % host)
    seen = services[0]['updated_at']
    # Without fractions: nova keeps whole seconds.
    since = started().replace(microsecond=0)
    if services[0]['state'] != 'up' or (seen and datetime.datetime.fromisoformat(seen) < since):
        sys.exit('nova has not heard of nova-compute of %s since this container started' % host)
    with open('/var/lib/nova/compute_id') as file:
        node = file.read().strip()
    if not cloud.get('placement', '/resource_providers/%s/inventories' % node)['inventories']:
        sys.exit('placement does not know yet what %s has' % host)
    agents = cloud.get('network', '/v2.0/agents', host=host, binary='neutron-openvswitch-agent')['agents']
    if not any(agent['alive'] for agent in agents):
        sys.exit('neutron does not see the agent of the switch alive')


if __name__ == '__main__':
    main()
