"""The table of models of clips."""

from lpd_jax.studies.clips_report import markdown


def row(name, device):
    return {
        "name": name,
        "method": "PAR",
        "order": "region",
        "most_at_once": 4,
        "num_steps": 323,
        "num_images": 12,
        "draw_seconds": 24.0,
        "alone_seconds": 3.0,
        "frechet_distance": 1.5,
        "standard_deviation": 0.25,
        "class_agreement": 0.5,
        "motion_agreement": 0.75,
        "parameters": 6_360_000,
        "made_with": [{"device": device}],
    }


def table_of(*rows):
    study = {"rows": rows, "floors": [], "sensitivity": [], "protocol": {}}
    lines = markdown(study, "film.gif", "sheet.png").splitlines()
    return [line for line in lines if line.startswith("| n")]


def test_a_row_says_what_was_measured():
    (line,) = table_of(row("n4", "a GPU"))
    assert line == ("| n4 | PAR | region | 4 | 323 | 2 | 3 | 1.50 ± 0.25 | 50.0% | 75.0% | 6.36 |")


def test_seconds_of_several_devices_say_which():
    first, second = table_of(row("n4", "a GPU"), row("n16", "a CPU"))
    assert "| region | a GPU | 4 |" in first and "| region | a CPU | 4 |" in second
