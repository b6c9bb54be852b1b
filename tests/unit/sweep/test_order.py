"""The order in which jobs are launched."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from bt_framework.sweep.order import by_data
from bt_framework.sweep.plan import Job

KEYS = ["strategy.entry_z", "data.files", "latency", "+experiment", "queue", "start"]


@given(
    st.lists(st.sampled_from(KEYS), unique=True, max_size=5).flatmap(
        lambda keys: st.lists(
            st.fixed_dictionaries({key: st.sampled_from("abc") for key in keys}), max_size=20
        )
    )
)
def test_every_job_is_there_once_and_those_of_the_same_data_follow_each_other(
    varied: list[dict[str, str]],
) -> None:
    jobs = [Job(number, values) for number, values in enumerate(varied)]
    ordered = by_data(jobs)
    assert sorted(job.number for job in ordered) == list(range(len(jobs)))
    for keys in (["+experiment"], ["+experiment", "data.files"], ["+experiment", "data.files", "latency"]):
        values = [tuple(job.varied.get(key) for key in keys) for job in ordered]
        assert len(list(itertools.groupby(values))) == len(set(values))
    for _, same in itertools.groupby(
        ordered, lambda job: {k: v for k, v in job.varied.items() if _is_data(k)}
    ):
        numbers = [job.number for job in same]
        assert numbers == sorted(numbers)


def _is_data(key: str) -> bool:
    return key.lstrip("+").partition(".")[0] in ("experiment", "data", "latency", "start")


def test_jobs_of_the_same_data_stay_as_they_are() -> None:
    jobs = [Job(number, {"strategy.entry_z": str(-number)}) for number in range(5)]
    assert by_data(jobs) == jobs


def test_data_count_before_latencies_and_come_in_the_order_of_the_plan() -> None:
    jobs = [
        Job(number, {"latency": latency, "data.date": date})
        for number, (latency, date) in enumerate(itertools.product(["b", "a"], ["2", "1"]))
    ]
    assert [tuple(job.varied.values()) for job in by_data(jobs)] == [
        ("b", "2"),
        ("a", "2"),
        ("b", "1"),
        ("a", "1"),
    ]
