"""What parliament, which knows every action and the resources it takes, finds in a policy."""

from __future__ import annotations

import json
import warnings

with warnings.catch_warnings():
    # Of its own source, which is compiled and reads its data.
    warnings.simplefilter("ignore")
    import parliament


def findings(policy: str) -> list[tuple[str, str]]:
    """Each issue with its details; empty if there are none."""
    found = parliament.analyze_policy_string(policy).findings
    return [(one.issue, json.dumps(one.detail)) for one in found]
