# Copyright The Copse Authors
# SPDX-License-Identifier: Apache-2.0
"""Horizon's settings, from the environment.

HORIZON_KEYSTONE_URL       identity service, with /v3
HORIZON_SECRET_KEY_FILE    file with the key that signs sessions
HORIZON_MEMCACHED_SERVERS  host:port, with commas between; sessions are kept there
HORIZON_ALLOWED_HOSTS      names and addresses that it answers to, with commas between; default *
HORIZON_ENDPOINT_TYPE      publicURL or internalURL; default internalURL
HORIZON_REGION             default region; default RegionOne
HORIZON_TIME_ZONE          default UTC
HORIZON_SETTINGS_FILE      Python file that has the last word; default none
"""

import hashlib
import os

OPENSTACK_KEYSTONE_URL = os.environ['HORIZON_KEYSTONE_URL']
OPENSTACK_KEYSTONE_DEFAULT_ROLE = 'member'
OPENSTACK_KEYSTONE_MULTIDOMAIN_SUPPORT = True
OPENSTACK_ENDPOINT_TYPE = os.environ.get('HORIZON_ENDPOINT_TYPE', 'internalURL')
DEFAULT_SERVICE_REGIONS = {'*': os.environ.get('HORIZON_REGION', 'RegionOne')}
ALLOWED_HOSTS = os.environ.get('HORIZON_ALLOWED_HOSTS', '*').split(',')
TIME_ZONE = os.environ.get('HORIZON_TIME_ZONE', 'UTC')

with open(os.environ['HORIZON_SECRET_KEY_FILE']) as _key:
    SECRET_KEY = _key.read().strip()

# Parts of pages are cached with the names of scripts and styles of this very image. One of another
# release, which serves beside it during an upgrade, would answer with an error if it were given them.
with open('/var/lib/openstack-dashboard/static/dashboard/manifest.json', 'rb') as _manifest:
    _image = hashlib.sha256(_manifest.read()).hexdigest()[:16]
_memcached = {
    'BACKEND': 'django.core.cache.backends.memcached.PyMemcacheCache',
    'LOCATION': os.environ['HORIZON_MEMCACHED_SERVERS'].split(','),
}
CACHES = {
    'default': {**_memcached, 'KEY_PREFIX': _image},
    'sessions': {**_memcached, 'KEY_PREFIX': 'sessions'},
}
SESSION_ENGINE = 'django.contrib.sessions.backends.cache'
SESSION_CACHE_ALIAS = 'sessions'
EMAIL_BACKEND = 'django.core.mail.backends.console.EmailBackend'

# Behind HAProxy, which says how the browser came.
SECURE_PROXY_SSL_HEADER = ('HTTP_X_FORWARDED_PROTO', 'https')

LOGGING = {
    'version': 1,
    'disable_existing_loggers': False,
    'formatters': {'plain': {'format': '%(levelname)s %(name)s %(message)s'}},
    'handlers': {'console': {'class': 'logging.StreamHandler', 'formatter': 'plain'}},
    'root': {'handlers': ['console'], 'level': 'INFO'},
    'loggers': {
        'django.db.backends': {'level': 'WARNING'},
        'urllib3': {'level': 'WARNING'},
        'iso8601': {'level': 'WARNING'},
    },
}

if os.environ.get('HORIZON_SETTINGS_FILE'):
    with open(os.environ['HORIZON_SETTINGS_FILE']) as _more:
        exec(compile(_more.read(), _more.name, 'exec'))
