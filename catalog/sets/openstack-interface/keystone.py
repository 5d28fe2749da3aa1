# Copyright The Copse Authors
# SPDX-License-Identifier: Apache-2.0
"""keystone's API with its policies loaded before the first request.

keystone makes its policy enforcer at the first request that asks for it, and another thread that asks
meanwhile finds one without rules: it answers 403 to whoever comes while a process is new.
"""

from keystone.common.rbac_enforcer import enforcer
from keystone.wsgi.api import application  # noqa: F401, what uwsgi serves

policies = enforcer.RBACEnforcer()._enforcer
policies.suppress_deprecation_warnings = True  # as keystone itself does within a request
policies.load_rules()
