"""The actors of a sweep on Ray: where there is room, starting them, asking them, ending them."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from engine.sweep.executors.ray_actor import NEWS, TRIALS, Actor, News, RunnerActor, kill_process

FAILED_STARTS = 3  # of actors on a node, in a row, before it is left alone
NEWS_EVERY = 2.0  # seconds between two questions to an actor for its progress, …
MOST_ASKED = 50  # … and questions at a time
LAST_WORDS = 2.0  # seconds that a silent actor has to say where it is
LONGEST_KILL = 5.0  # seconds that a node has to end a silent actor's process


class Fleet:
    """All actors of one run, ``actors``; each bound to a node.

    ``failed_starts``: how many actors in a row failed to start on a node.
    """

    def __init__(self, ray: Any, make_runner: bytes, *, threads: int, gpus: float) -> None:
        """``make_runner`` is pickled; ``threads`` and ``gpus`` are those of an actor."""
        self.actors: list[Actor] = []
        self.failed_starts: Counter[str] = Counter()
        self._ray, self._make_runner = ray, make_runner
        self._threads, self._gpus = threads, gpus
        self._hosts: dict[str, str] = {}
        self._actor_class = ray.remote(
            num_cpus=threads, num_gpus=gpus, concurrency_groups={TRIALS: 1, NEWS: 1}
        )(RunnerActor)

    def count_slots(self) -> dict[str, int]:
        """How many actors every node has room for, those that are there included."""
        slots = {}
        for node in self._ray.nodes():
            self._hosts[node["NodeID"]] = node["NodeManagerHostname"]
            slots[node["NodeID"]] = self._slots_of(node) if node["Alive"] else 0
        return slots

    def free_slots(self, slots: Mapping[str, int]) -> list[str]:
        """A node for every actor that may be started more, of so many a node."""
        taken = Counter(actor.node for actor in self.actors)
        return [
            node
            for node, number in slots.items()
            for _ in range(number - taken[node])
            if self.failed_starts[node] < FAILED_STARTS
        ]

    def host_of(self, actor: Actor) -> str:
        """The name of the machine that it runs on."""
        return self._hosts[actor.node]

    def start(self, node: str) -> Actor:
        """A new actor on a node, numbered with the lowest number that is free.

        It is bound to its node: Ray would else put new actors on a node that is dead, but not yet
        known to be.
        """
        used = {actor.number for actor in self.actors}
        number = next(number for number in itertools.count() if number not in used)
        bound = self._actor_class.options(scheduling_strategy=self._only_on(node))
        actor = Actor(number, node, bound.remote(self._threads))
        actor.start(self._make_runner)
        self.actors.append(actor)
        return actor

    def answered(self, asked: Sequence[Any]) -> list[Any]:
        """Those of the asked that have an answer by now, a death included."""
        return self._ray.wait(asked, num_returns=len(asked), timeout=0)[0] if asked else []

    def hear_news(self, now: float) -> list[tuple[Actor, News]]:
        """The answers to earlier questions; asks again whoever is due, at ``now`` seconds."""
        asked = {actor.asked: actor for actor in self.actors if actor.asked is not None}
        heard = []
        for answer in self.answered(list(asked)):
            actor = asked[answer]
            actor.asked = None
            try:
                heard.append((actor, self._ray.get(answer)))
            except self._ray.exceptions.RayError:
                continue  # its other calls say so too
        due = [actor for actor in self.actors if actor.asked is None and now >= actor.ask_at]
        for actor in due[:MOST_ASKED]:
            actor.ask()
            actor.ask_at = now + NEWS_EVERY
        return heard

    def where(self, actor: Actor) -> str:
        """Where in the code a silent actor is; empty if it can't say."""
        asked = actor.where()
        try:
            return self._ray.get(asked, timeout=LAST_WORDS)
        except self._ray.exceptions.RayError:
            return ""

    def end(self, actor: Actor) -> None:
        """Have it killed; one that is out of reach must not go on either."""
        self._ray.kill(actor.handle)

    def end_hanging(self, actor: Actor) -> None:
        """Kill one that doesn't answer, its process first.

        Ray's own kill is a request to the process: a stopped one stays, and so does its memory.
        """
        if actor.process is not None:
            on_its_node = self._ray.remote(num_cpus=0, max_retries=0)(kill_process)
            on_its_node = on_its_node.options(scheduling_strategy=self._only_on(actor.node))
            self._ray.wait([on_its_node.remote(actor.process)], timeout=LONGEST_KILL)
        self.end(actor)

    def _slots_of(self, node: Mapping[str, Any]) -> int:
        resources = node["Resources"]
        slots = resources.get("CPU", 0) // self._threads
        return int(min(slots, resources.get("GPU", 0) // self._gpus) if self._gpus else slots)

    def _only_on(self, node: str) -> Any:
        strategies = self._ray.util.scheduling_strategies
        return strategies.NodeAffinitySchedulingStrategy(node_id=node, soft=False)
