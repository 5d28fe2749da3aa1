#!/usr/bin/env python3
# Copyright The Copse Authors
# SPDX-License-Identifier: Apache-2.0
"""Write the list of the configuration options an image's services have.

Run inside the image while it is built, with the services' own Python:

    collect_options.py --output /usr/share/copse/options NAMESPACE...
    collect_options.py --output /usr/share/copse/options --all

A NAMESPACE is an entry point of the group "oslo.config.opts", as given to
oslo-config-generator ("keystone", "oslo.log", ...). copse-init and copse read
the result; internal/osloconf/options.go describes its format. The same
packages give the same bytes.
"""

import argparse
import importlib.metadata
import os
import sys
import tempfile

from oslo_config import cfg
from oslo_config import generator

HEADER = 'copse-options 1'

# Groups whose options also hold in groups that an operator names freely. The
# services build those groups in code, so no entry point tells. Each line:
# the group with the options, the option whose value names the groups (a list
# or a dict), and groups of fixed names that take the same options.
BACKEND_GROUPS = {
    # cinder.volume.configuration
    'backend_defaults': ('DEFAULT', 'enabled_backends', ()),
    # glance_store.multi_backend, glance.common.wsgi (reserved stores)
    'glance_store': ('DEFAULT', 'enabled_backends',
                     ('os_glance_staging_store', 'os_glance_tasks_store')),
}


class Refused(Exception):
    """What the caller asked for cannot be collected."""


def one_line(value, limit):
    text = ' '.join(str(value).split())
    return text if len(text) <= limit else text[:limit - 3] + '...'


def kind(opt):
    # keystoneauth gives plain Python types, oslo.config objects.
    named = opt.type if isinstance(opt.type, type) else type(opt.type)
    return {'str': 'string', 'int': 'integer', 'bool': 'boolean'}.get(
        named.__name__, named.__name__.lower())


def flags(opt):
    return ''.join(letter for letter, on in (
        ('m', opt.multi),
        ('s', opt.secret),
        ('r', opt.deprecated_for_removal),
        ('q', opt.required),
    ) if on)


def deprecated_names(opt, group):
    """The pairs under which oslo.config still finds the option in a file."""
    names = []
    for old in opt.deprecated_opts:
        if not (old.name or old.group):
            continue
        pair = (old.group or group, (old.name or opt.dest).replace('-', '_'))
        if pair != (group, opt.dest) and pair not in names:
            names.append(pair)
    return names


def default(opt):
    value = opt.sample_default if opt.sample_default is not None else opt.default
    if value is None:
        return ''
    if isinstance(value, (list, tuple)):
        return ','.join(str(item) for item in value)
    if isinstance(value, dict):
        return ','.join('%s:%s' % item for item in value.items())
    return str(value)


class Groups:
    """Options by group; the first description of an option is kept."""

    def __init__(self):
        self.options = {}
        self.owners = {}

    def add(self, group, opt):
        options = self.options.setdefault(group, {})
        known = options.get(opt.dest)
        if known is None:
            options[opt.dest] = [opt, deprecated_names(opt, group)]
        else:
            known[1].extend(pair for pair in deprecated_names(opt, group)
                            if pair not in known[1])


def collect(namespaces):
    groups = Groups()
    for namespace, listed in generator._list_opts(namespaces):
        for group, opts in listed:
            name = 'DEFAULT' if group is None else getattr(group, 'name', group)
            if namespace == 'glance.multi_store' and name != 'glance_store':
                # One group for each driver stands for the groups of the stores.
                groups.owners[name] = BACKEND_GROUPS['glance_store']
            owner = getattr(group, 'dynamic_group_owner', '')
            if owner:
                owner_group, _, owner_name = owner.rpartition('.')
                groups.owners[name] = (owner_group or 'DEFAULT', owner_name, ())
            for opt in opts:
                groups.add(name, opt)
    if 'glance_store' in groups.options:
        # Registered by the drivers themselves when there are several stores.
        from glance_store import driver
        for opt in getattr(driver, '_MULTI_BACKEND_OPTS', ()):
            groups.add('glance_store', opt)
    for name, owner in BACKEND_GROUPS.items():
        if name in groups.options and owner[1] in groups.options.get(owner[0], {}):
            groups.owners[name] = owner
    return groups


def add_auth_plugins(groups):
    """Give groups that load a keystoneauth plugin the plugins' options.

    keystoneauth registers them when the service starts, by the value of
    auth_type: no entry point lists them all.
    """
    loading = [name for name, options in groups.options.items()
               if 'auth_type' in options or 'auth_plugin' in options]
    if not loading:
        return
    from keystoneauth1 import loading as keystoneauth
    opts = list(keystoneauth.get_session_conf_options())
    opts += keystoneauth.get_auth_common_conf_options()
    for plugin in sorted(keystoneauth.get_available_plugin_names()):
        try:
            opts += keystoneauth.get_auth_plugin_conf_options(plugin)
        except Exception as problem:  # a plugin whose own libraries are absent
            print('collect_options: leaving out the authentication plugin '
                  '%s: %s' % (plugin, problem), file=sys.stderr)
    for name in loading:
        for opt in opts:
            groups.add(name, opt)


def lines(groups, open_groups):
    yield HEADER
    names = set(groups.options) | set(open_groups)
    for group in sorted(names, key=lambda name: (name != 'DEFAULT', name)):
        fields = ['[%s]' % group]
        if group in open_groups:
            fields.append('open')
        if group in groups.owners:
            owner_group, owner_name, fixed = groups.owners[group]
            fields.append('owner=%s/%s' % (owner_group, owner_name))
            fields.extend('also=%s' % name for name in fixed)
        yield '\t'.join(fields)
        for dest, (opt, old) in sorted(groups.options.get(group, {}).items()):
            yield '\t'.join((
                dest,
                kind(opt),
                flags(opt),
                ' '.join('%s/%s' % pair for pair in old),
                '' if opt.secret else one_line(default(opt), 200),
                one_line(opt.help or '', 200),
            ))


def write(path, text):
    directory = os.path.dirname(os.path.abspath(path))
    os.makedirs(directory, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=directory)
    try:
        with os.fdopen(handle, 'w', encoding='utf-8') as out:
            out.write(text)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def namespaces_wanted(arguments):
    installed = {entry.name for entry in
                 importlib.metadata.entry_points(group='oslo.config.opts')}
    if arguments.all:
        # Test suites register options as well; a service never has those.
        return sorted(name for name in installed if '.tests.' not in name)
    missing = sorted(set(arguments.namespaces) - installed)
    if missing:
        raise Refused('no such namespace: %s; this image has: %s' % (
            ', '.join(missing), ', '.join(sorted(installed))))
    return sorted(set(arguments.namespaces))


def main(argv):
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--output', required=True, help='the file to write')
    parser.add_argument('--all', action='store_true',
                        help='every namespace the image has')
    parser.add_argument('--open-group', action='append', default=[],
                        metavar='GROUP', help='a group that takes any option')
    parser.add_argument('namespaces', nargs='*', metavar='NAMESPACE')
    arguments = parser.parse_args(argv)
    if bool(arguments.namespaces) == arguments.all:
        parser.error('give namespaces or --all')
    try:
        groups = collect(namespaces_wanted(arguments))
    except Refused as problem:
        print('collect_options: %s' % problem, file=sys.stderr)
        return 1
    except (ImportError, cfg.Error) as problem:
        print('collect_options: cannot list the options of %s: %s' % (
            ' '.join(arguments.namespaces) or 'all namespaces', problem),
            file=sys.stderr)
        return 1
    add_auth_plugins(groups)
    if not groups.options:
        print('collect_options: these namespaces list no option', file=sys.stderr)
        return 1
    write(arguments.output, '\n'.join(lines(groups, arguments.open_group)) + '\n')
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
