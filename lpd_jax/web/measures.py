"""What Prometheus asks of a server, in its plain text."""

from lpd_jax.web.jobs import Jobs


def as_text(jobs: Jobs) -> str:
    """Counts of jobs by kind and end, the seconds that they took, and how long the queue is."""
    lines = [
        "# HELP lpd_page_jobs_total Jobs that ended.",
        "# TYPE lpd_page_jobs_total counter",
    ]
    lines += [
        f'lpd_page_jobs_total{{kind="{kind}",state="{state}"}} {count}'
        for (kind, state), count in sorted(jobs.outcomes.items())
    ]
    numbers = (
        ("seconds_total", "counter", "Seconds that jobs ran.", f"{jobs.seconds:.3f}"),
        ("waiting", "gauge", "Jobs that wait.", jobs.num_waiting),
        ("waiting_most", "gauge", "Jobs that may wait.", jobs.most_waiting),
        ("running", "gauge", "Jobs that run: 0 or 1.", int(jobs.is_busy)),
    )
    for name, kind, text, value in numbers:
        lines += [
            f"# HELP lpd_page_{name} {text}",
            f"# TYPE lpd_page_{name} {kind}",
            f"lpd_page_{name} {value}",
        ]
    return "\n".join(lines) + "\n"
