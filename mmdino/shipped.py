"""The configs that this package ships, by name, for its own tools and for OpenMMLab's.

An installed package holds them in ``.mim``, as OpenMMLab's packages do; there, a checkout has links
to the folders. mmengine finds a package's configs only if it has the package in a table of its own,
refuses names without a folder, and would look for components of mmpretrain in mmdino. So its two
functions that take such names hand ours over to :func:`config_path`.
"""

from __future__ import annotations

from difflib import get_close_matches
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmdino.utils.after_import import after_import

if TYPE_CHECKING:
    from mmengine.config import Config

MIM = Path(__file__).parent / ".mim"
PREFIX = "mmdino::"


def config_path(name: str) -> str:
    """Returns the path of a config.

    Args:
        name: A path; or the name of a shipped config, such as ``dino_demo``, ``byol/byol_demo`` or
            ``mmdino::dino_demo.py``, or its path in a checkout, such as ``configs/dino_demo.py``. A
            file of that path goes before a shipped config, unless the name has the prefix.

    Returns:
        Path of the shipped config; the name itself, if it is no name of one.

    Raises:
        FileNotFoundError: If there is none of a name with the prefix.
    """
    short = name.removeprefix(PREFIX)
    if short == name and Path(name).is_file():
        return name
    known = shipped_configs()
    found = known.get(short.removesuffix(".py").removeprefix("configs/"))
    if found is not None:
        return str(found)
    base = MIM / "configs" / short
    if short != name and base.is_file():
        return str(base)
    if short == name:
        return name
    raise FileNotFoundError(f"mmdino has no config {short!r}. {where_configs_are(name)}")


def where_configs_are(name: str) -> str:
    """Returns where the shipped configs are, after the one whose name is most like another."""
    short = name.removeprefix(PREFIX)
    near = get_close_matches(Path(short).stem, shipped_configs(), n=1)
    found = f"{PREFIX}{near[0]}.py" if near and short != name else "".join(near)
    advice = f"Did you mean {found}? " if found else ""
    return (
        f"{advice}The shipped ones are in {str(MIM / 'configs')!r}; their names are enough, such "
        "as dino_demo."
    )


def shipped_configs() -> dict[str, Path]:
    """Returns the shipped configs by their names, without ``.py``.

    Each has the name of its path. Those whose file has a name of its own, as the methods' have, are
    also found by that alone.
    """
    folder = MIM / "configs"
    names = [path.relative_to(folder).with_suffix("") for path in folder.glob("*.py")]
    names += [path.relative_to(folder).with_suffix("") for path in folder.glob("[!_]*/*.py")]
    stems = [name.name for name in names]
    by_name = {str(name.as_posix()): folder / f"{name}.py" for name in names}
    alone = {name.name: folder / f"{name}.py" for name in names if stems.count(name.name) == 1}
    return {**alone, **by_name}


def add_to_openmmlab() -> None:
    """Makes mmengine and mmpretrain know this package, now or when they are imported."""
    after_import("mmengine.config", _add_to_config)
    after_import("mmengine.hub", _add_to_hub)
    after_import("mmpretrain.apis.model", _add_to_model_hub)
    after_import("mmpretrain.apis.feature_extractor", _add_to_feature_extractor)


def _add_to_config() -> None:
    """Lets ``_base_`` name our configs."""
    from mmengine.config import Config

    of_others = Config._get_cfg_path

    @wraps(of_others)
    def get_cfg_path(cfg_path: str, filename: str) -> tuple[str, str | None]:
        if cfg_path.startswith(PREFIX):
            # No scope: ours are written for mmpretrain's, as those of another project are.
            return config_path(cfg_path), None
        return of_others(cfg_path, filename)

    Config._get_cfg_path = staticmethod(get_cfg_path)


def _add_to_hub() -> None:
    """Lets ``mmengine.hub.get_config`` name our configs."""
    from mmengine import hub
    from mmengine.config import Config

    of_others = hub.get_config

    @wraps(of_others)
    def get_config(cfg_path: str, pretrained: bool = False) -> Config:
        if not cfg_path.startswith(PREFIX):
            return of_others(cfg_path, pretrained)
        if pretrained:
            raise ValueError(f"pretrained=True of {cfg_path!r}: mmdino has no weights of its own.")
        return Config.fromfile(config_path(cfg_path))

    hub.get_config = hub.hub.get_config = get_config


def _add_to_model_hub() -> None:
    """Lets mmpretrain list and build the models of our model index."""
    from mmpretrain.apis.model import ModelHub

    ModelHub.register_model_index(MIM / "model-index.yml", config_prefix=MIM)


def _add_to_feature_extractor() -> None:
    """Lets mmpretrain's feature extractor read images as the validation of pretraining does.

    It takes the pipeline of ``test_dataloader``, which configs of pretraining do not have.
    """
    from mmpretrain.apis.feature_extractor import FeatureExtractor

    of_tests = FeatureExtractor._init_pipeline

    @wraps(of_tests)
    def init_pipeline(self: FeatureExtractor, cfg: Config) -> Any:
        if "test_dataloader" not in cfg and "val_dataloader" in cfg:
            cfg = type(cfg)(dict(test_dataloader=cfg.val_dataloader))
        return of_tests(self, cfg)

    FeatureExtractor._init_pipeline = init_pipeline
