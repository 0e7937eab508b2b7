"""What a study keeps of one draw, as tests make it up."""


def draw_of(distance, **fields):
    return {
        "order": "raster",
        "num_steps": 7,
        "num_images": 100,
        "frechet_distance": distance,
        "standard_deviation": 0.05,
        "class_agreement": 0.5,
        "draw_seconds": 3.0,
        "compile_seconds": 1.0,
    } | fields
