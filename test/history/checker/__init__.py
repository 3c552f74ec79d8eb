# checker: from a recorded history to a verdict.
# SPDX-License-Identifier: PostgreSQL
"""model.py loads a history, *_rules.py hold it against the promises."""

from . import kafka_rules, log_rules, queue_rules, server_rules, tenant_rules
from .model import History, load
from .report import Report

RULES = (log_rules.RULES + queue_rules.RULES + kafka_rules.RULES +
         server_rules.RULES + tenant_rules.RULES)


def hold(history, rules) -> Report:
    """Hold a loaded history against rules."""
    report = Report(history)
    for rule in rules:
        rule(history, report)
    return report


def check(history: History) -> Report:
    """Hold one of a queue against all of them."""
    return hold(history, RULES)


def check_records(records) -> Report:
    """The same for records, as dicts in the order they were written."""
    return check(load(records))
