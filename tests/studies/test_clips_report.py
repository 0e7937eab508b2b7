"""The table of models of clips."""

from lpd_jax.studies.clips_report import markdown


def row(name):
    return {
        "name": name,
        "method": "PAR",
        "order": "region",
        "most_at_once": 4,
        "num_steps": 323,
        "num_images": 12,
        "frechet_distance": 1.5,
        "standard_deviation": 0.25,
        "class_agreement": 0.5,
        "motion_agreement": 0.75,
        "parameters": 6_360_000,
        "latency_seconds": 0.3,
    }


def table_of(*rows):
    study = {"rows": rows, "floors": [], "sensitivity": [], "protocol": {}}
    lines = markdown(study, "film.gif", "sheet.png").splitlines()
    return [line for line in lines if line.startswith("| n")]


def test_a_row_says_what_was_measured():
    (line,) = table_of(row("n4"))
    assert line == "| n4 | PAR | region | 4 | 323 | 1.50 ± 0.25 | 50.0% | 75.0% | 6.36 | 0.3 |"
