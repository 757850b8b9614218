"""What this machine has of all that the engine stands on, and what to type where it lacks it.

`finding` is one check's answer; `software`, `arithmetic`, `limits`, `storage`, `native` and
`artefacts` hold the checks, each a function of what was asked for; `examination` has them in order.
They ask the same probes as the runs do (which precision, which compiler, how much memory), so that
what they say is what a run will meet.
"""

from __future__ import annotations

from engine.doctor.examination import check_environment

__all__ = ["check_environment"]
