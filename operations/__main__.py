"""`python -m operations VERB`: deploys and operates the environments, one verb a module."""

from __future__ import annotations

from operations import program

# Keep in step with the lists in the Makefile.
VERBS = {
    # Deploying
    "bootstrap": "operations.state:bootstrap_command",
    "preflight": "operations.preflight",
    "plan": "operations.deploy:plan_command",
    "apply": "operations.deploy:apply_command",
    "verify": "operations.verify",
    "output": "operations.state:output_command",
    "destroy": "operations.deploy:destroy_command",
    "drift": "operations.drift",
    "new-env": "operations.new_env",
    "diff": "operations.diff",
    # Operating
    "status": "operations.status",
    "report": "operations.report",
    "results": "operations.results",
    "watch": "operations.watch",
    "trace": "operations.trace",
    "logs": "operations.logs",
    "subscriptions": "operations.subscriptions",
    "reprocess": "operations.reprocess",
    "backfill": "operations.backfill",
    "cost": "operations.cost",
    "rollback": "operations.rollback",
    "pause": "operations.buffer:pause_command",
    "resume": "operations.buffer:resume_command",
    "redrive": "operations.redrive",
    "audit": "operations.audit",
    "erase": "operations.erase",
}

main = program.Verbs(VERBS, help="Deploy and operate an environment; every verb answers --help.")

if __name__ == "__main__":
    program.run(main, "python -m operations")
