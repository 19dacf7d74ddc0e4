"""Packaging. mmdino/utils/dependencies.py checks at import what pip may not resolve by itself."""

from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
EVALUATE = [
    "scikit-learn>=1.4",  # logistic regression on frozen features
]
CONVERT = [
    "onnx>=1.16",
    "onnxruntime>=1.18",  # runs an exported file, to compare it with what was exported
    "timm>=1.0",  # builds the networks that converted weights are for, to compare features
    "transformers>=4.40",  # likewise
]
CURATE = [
    "faiss-cpu>=1.8",  # nearest neighbours and k-means of millions of features
    "scipy>=1.11",  # connected components of a graph of millions of edges
]
PARQUET = [
    "pyarrow>=14",  # features as Parquet, which pandas, Polars and DuckDB read
]
DOCS = [
    "furo>=2024.8",  # the theme, with the tree of pages beside each
    "myst-parser>=4",  # pages in Markdown that read the same in the repository
    "sphinx>=8.1",  # docstrings in Google style, links and anchors checked; all pure Python
]
GEOTIFF = [
    "imagecodecs>=2024.1.1",  # LZW and other compressions, which most GeoTIFFs have
    "tifffile>=2024.1.30",  # any number of bands; OpenCV reads up to four
]
DICOM = [
    "pydicom>=3.0",  # pydicom.pixels, whose pixel_array converts colours to RGB
]
version: dict[str, str] = {}
exec((ROOT / "mmdino" / "version.py").read_text(), version)

setup(
    name="mmdino",
    version=version["__version__"],
    description="DINO self-supervised pretraining as a plugin for OpenMMLab's mmpretrain",
    long_description=(ROOT / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages(include=["mmdino", "mmdino.*", "mmdino_cli"]),
    # OpenMMLab's layout for what is not imported. In a checkout .mim holds links to the folders,
    # which setuptools follows; the benchmarks measure a checkout and stay there.
    package_data={
        "mmdino": [
            ".mim/model-index.yml",
            ".mim/configs/**/*.py",
            ".mim/configs/**/*.md",
            ".mim/configs/**/*.yml",
            ".mim/tools/*.py",
            ".mim/tools/*.sh",
            ".mim/tools/model_converters/**/*.py",
            "report/page.html",
        ]
    },
    entry_points={"console_scripts": ["mmdino = mmdino_cli.main:main"]},
    python_requires=">=3.10",
    install_requires=[
        # Not mmengine, mmcv or mmpretrain: two distributions provide them under the same import
        # names, and pip would install one over the other. Not torchvision: one from the registry
        # does not load beside every build of torch. Both come with the extras below.
        "matplotlib",  # the training figure; mmengine needs it too
        "numpy",
        "packaging",  # compares versions at import
        "pillow>=10.1",  # palette masks, GIFs, 16-bit and rotated photographs
        "rich",  # the progress bars of a comparison; mmengine needs it too
        "safetensors",  # weights in and out without pickle; a wheel without dependencies
        "torch>=2.4",  # torch.serialization.add_safe_globals, device-independent GradScaler
    ],
    extras_require={
        # The maintained distribution: wheels, releases to 2026.
        "onedl": [
            "torch>=2.4",
            "torchvision",  # mmpretrain imports it without declaring it
            "onedl-mmengine>=0.10.12,<0.11",
            "onedl-mmcv>=2.3.6,<2.4",
            "onedl-mmpretrain>=1.3.6,<1.4",
            "onedl-mmsegmentation>=1.4.2,<1.5",  # transfer to ADE20K
        ],
        # The original distribution. mmcv-lite is mmcv without compiled ops, which mmdino does not
        # need; mmsegmentation does, see docs/get_started.md.
        "openmmlab": [
            "torch>=2.4",
            "torchvision",
            "mmengine>=0.10.7,<0.11",
            "mmcv-lite>=2.1.0,<2.2",
            "mmpretrain>=1.2.0,<1.3",
        ],
        "evaluate": EVALUATE,
        "convert": CONVERT,
        "curate": CURATE,
        "parquet": PARQUET,
        "docs": DOCS,
        "geotiff": GEOTIFF,
        "dicom": DICOM,
        # One each: a run logs to one of them, and each brings a service's clients.
        "tensorboard": ["tensorboard>=2.14"],
        "wandb": ["wandb>=0.16"],
        "mlflow": ["mlflow-skinny>=2.22,<3"],  # 3 refuses folders, where mmengine's backend writes
        "tests": [
            *DOCS,
            *EVALUATE,
            *CONVERT,
            *CURATE,
            *PARQUET,
            *GEOTIFF,
            *DICOM,
            "hypothesis>=6.100",  # draws the inputs of the property tests
            "pytest>=8",
            "pytest-xdist>=3.5",  # the tests on all cores
            "ruff==0.17.6",  # pinned: another version formats differently
        ],
    },
)
