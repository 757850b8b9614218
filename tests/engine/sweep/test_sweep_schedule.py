"""The scheduler: every job once, losses bounded, close to the best order, shapes kept."""

from __future__ import annotations

import heapq
import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.sweep.executors.schedule import Job, Schedule
from engine.sweep.timing.simulation import epoch_sweep_jobs, simulate


def jobs_of(works: list[float], shapes: str | None = None) -> list[Job]:
    shapes = shapes or "a" * len(works)
    pairs = zip(works, shapes, strict=True)
    return [Job(str(number), shape, work) for number, (work, shape) in enumerate(pairs)]


some_jobs = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(1, 50)), min_size=1, max_size=40
).map(lambda made: jobs_of([work for _, work in made], "".join(shape for shape, _ in made)))


@given(jobs=some_jobs, retries=st.integers(0, 2), data=st.data())
def test_every_job_ends_once_whatever_happens_to_workers(jobs, retries, data) -> None:
    """Any order of asking, finishing and dying: a job is with one worker at a time, and ends."""
    schedule = Schedule(jobs, retries)
    held: dict[int, list[str]] = {}
    names = itertools.count(3)
    workers = [0, 1, 2]
    ended: list[str] = []
    losses: dict[str, int] = {}
    for _ in range(200 * len(jobs)):
        if schedule.is_over:
            break
        place = data.draw(st.integers(0, 2))
        worker = workers[place]
        mine = held.setdefault(worker, [])
        act = data.draw(st.sampled_from(["ask", "ask", "finish", "finish", "die"]))
        if act == "ask":
            job = schedule.next_for(worker)
            if job is not None:
                assert job.id not in ended
                assert all(job.id not in others for others in held.values())
                mine.append(job.id)
        elif act == "finish" and mine:
            assert schedule.finished(worker).id == mine[0]
            ended.append(mine.pop(0))
        elif act == "die":
            given_up = schedule.lost(worker, "killed")
            if mine:
                losses[mine[0]] = losses.get(mine[0], 0) + 1
                assert (given_up is not None) == (losses[mine[0]] == retries + 1)
            else:
                assert given_up is None
            ended += [given_up.id] if given_up else []
            del held[worker]
            workers[place] = next(names)
        counts = schedule.counts
        running = [job for jobs_held in held.values() for job in jobs_held]
        assert counts.running == len(running)
        assert counts.waiting + counts.running + len(ended) == counts.total == len(jobs)
    while not schedule.is_over:  # what luck left over
        for worker in list(workers):
            if schedule.queue_of(worker):
                ended.append(schedule.finished(worker).id)
            schedule.next_for(worker)
    assert sorted(ended) == sorted(job.id for job in jobs)
    assert set(schedule.given_up) == {job for job, n in losses.items() if n == retries + 1}
    assert schedule.counts.work_waiting == schedule.counts.work_running == 0


@given(
    works=st.lists(st.integers(1, 30), min_size=1, max_size=7),
    shapes=st.text("ab", min_size=7, max_size=7),
    workers=st.integers(1, 3),
)
def test_it_is_never_worse_than_longest_first_may_be(works, shapes, workers) -> None:
    """Against every assignment there is: at most 4/3 of the best."""
    best = min(
        max(sum(w for w, to in zip(works, at, strict=True) if to == k) for k in range(workers))
        for at in itertools.product(range(workers), repeat=len(works))
    )
    assert simulate(jobs_of(works, shapes[: len(works)]), workers).makespan <= 4 / 3 * best + 1e-9


@given(jobs=some_jobs, workers=st.integers(1, 5))
def test_the_answers_depend_on_the_questions_alone(jobs, workers) -> None:
    def order() -> list[str]:
        schedule = Schedule(jobs, workers=workers)
        found = []
        for turn in range(len(jobs)):
            job = schedule.next_for(turn % workers)
            assert job is not None
            found.append(job.id)
        return found

    assert order() == order()
    assert len(set(order())) == len(jobs)


@given(jobs=some_jobs, workers=st.integers(1, 5))
def test_the_number_of_workers_may_be_told_later(jobs, workers) -> None:
    """As by a cluster, whose slots are counted when it is joined."""
    told_later = Schedule(jobs)
    told_later.expect(workers)
    told_at_once = Schedule(jobs, workers=workers)
    for turn in range(len(jobs)):
        assert told_later.next_for(turn % 2) == told_at_once.next_for(turn % 2)


def test_20_000_trials_on_1_000_workers_end_within_3_percent_of_the_bound() -> None:
    jobs = epoch_sweep_jobs(20_000)
    assert max(job.work for job in jobs) == 50 * min(job.work for job in jobs)
    started = time.process_time()
    replayed = simulate(jobs, 1000)
    seconds = time.process_time() - started
    assert replayed.finished == 20_000
    assert replayed.ratio <= 1.03
    assert seconds < 5  # 0.4 s on an idle core
    assert simulate(jobs, 1000, jitter=0.1).ratio <= 1.03


def test_workers_keep_their_shapes_while_that_costs_nothing() -> None:
    jobs = epoch_sweep_jobs(20_000)
    assert simulate(jobs, 1000).shapes_prepared < shapes_prepared_longest_first(jobs, 1000) / 4
    # On a laptop every shape is prepared about once.
    assert simulate(jobs, 2).shapes_prepared < 1.1 * len({job.shape for job in jobs})


def shapes_prepared_longest_first(jobs: list[Job], workers: int) -> int:
    """How often a worker meets a new shape if the longest job comes next, equal ones by shape."""
    free = [(0.0, worker) for worker in range(workers)]
    has: dict[int, object] = {}
    prepared = 0
    for job in sorted(jobs, key=lambda job: (-job.work, job.shape)):
        now, worker = heapq.heappop(free)
        prepared += has.get(worker) != job.shape
        has[worker] = job.shape
        heapq.heappush(free, (now + job.work, worker))
    return prepared


def test_the_longest_jobs_of_a_shape_come_first() -> None:
    schedule = Schedule(jobs_of([1, 5, 3, 5]))
    asked = [schedule.next_for("worker") for _ in range(4)]
    assert [job.id for job in asked if job] == ["1", "3", "2", "0"]
    assert schedule.next_for("worker") is None


def test_a_worker_leaves_its_shape_for_a_job_that_would_end_last() -> None:
    """Shape b has more work, but its short jobs could not fill the time beside the 9 of shape a."""
    schedule = Schedule(jobs_of([9, 10, 2, 2], "abbb"), workers=2)
    first, second = schedule.next_for(0), schedule.next_for(1)
    assert {first.work, second.work} == {9, 10}  # type: ignore[union-attr]


def test_only_the_job_that_a_lost_worker_was_at_is_charged() -> None:
    schedule = Schedule(jobs_of([1, 1, 1]), retries=1)
    for reason in ("SIGKILL", "SIGSEGV"):
        held = [schedule.next_for("worker") for _ in range(3)]
        assert [job.id for job in held if job] == ["0", "1", "2"]
        given_up = schedule.lost("worker", reason)
    assert given_up is not None
    assert (given_up.id, schedule.given_up) == ("0", {"0": "SIGKILL\nSIGSEGV"})
    assert (schedule.counts.waiting, schedule.counts.given_up) == (2, 1)
    assert schedule.lost("worker", "again") is None


@pytest.mark.parametrize("work", [0, -1, float("inf"), float("nan")])
def test_work_that_can_not_be_compared_is_refused(work: float) -> None:
    with pytest.raises(ValueError, match="work"):
        Schedule(jobs_of([1, work]))


def test_two_jobs_of_one_id_are_refused() -> None:
    with pytest.raises(ValueError, match="same id"):
        Schedule([Job("0", "a", 1), Job("0", "b", 1)])


def test_a_worker_without_a_job_can_not_finish_one() -> None:
    with pytest.raises(ValueError, match="holds no job"):
        Schedule(jobs_of([1])).finished("worker")


def test_an_empty_schedule_is_over() -> None:
    assert Schedule([]).is_over
    assert Schedule([]).next_for("worker") is None
