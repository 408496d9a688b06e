"""Owns installing into Slicer's Python, by Slicer's own means, and the wording of what is there.

Every function here is called from a button; nothing goes over the network otherwise.
"""

import importlib.metadata
import inspect
import shutil
import sysconfig
import tempfile
from contextlib import suppress
from pathlib import Path

import slicer
from slicer.i18n import tr as _

# As requirements.txt and requirements-training.txt have them.
SMALL_SET = (
    *("numpy", "scipy", "SimpleITK", "pydicom", "highdicom", "scikit-image", "openvino", "jinja2"),
    "safetensors",
)
TRAINING_SET = (
    *("monai", "onnx", "onnxscript", "opencv-python-headless", "scikit-learn", "matplotlib"),
    *("tensorboard", "PyYAML", "h5py"),
)
TORCH_RANGE = ">=2.6"
_TORCH = ("torch", "torchvision", "torchaudio", "torchgen", "functorch")  # the last two are folders of torch


def rows(facts: dict) -> list[tuple[str, str]]:
    """What a look at this computer found, line by line."""
    if not facts:
        return []
    python, computer = facts["python"], facts["computer"]
    openvino, torch = facts["openvino"], facts["torch"]
    memory = _("{total} GiB, {free} GiB free").format(
        total=computer["memory_gib"], free=computer["memory_free_gib"]
    )
    lines = [
        (_("Python"), f"{python['version']}, {python['machine']}"),
        (_("Processor"), _("{n} cores").format(n=computer["cores"]) + f", {openvino.get('cpu', '')}"),
        (_("Memory"), memory),
        (_("CPU engine"), _state(openvino, "OpenVINO")),
        (_("PyTorch"), _state(torch, "PyTorch")),
    ]
    for gpu in torch.get("gpus", ()):
        state = _("can be used") if gpu.get("usable") else gpu.get("why", "")
        lines.append((_("GPU"), f"{gpu.get('name', gpu['device'])}: {state}"))
    training = facts["training"]
    lines.append((_("Fine-tuning"), _("possible") if training["usable"] else training["why"]))
    missing = _missing(facts, SMALL_SET)
    lines.append(
        (_("Small set"), _("missing: {names}").format(names=", ".join(missing)) if missing else _("complete"))
    )
    return lines


def summary(facts: dict) -> str:
    """One sentence: what works."""
    if not facts:
        return _("This computer has not been looked at yet.")
    usable = [device for device in facts.get("devices", ()) if device.get("usable")]
    if not usable:
        return _("Nothing can be computed yet: install the small set below.")
    gpu = next((device for device in usable if device["device"] != "cpu"), None)
    where = gpu["name"] if gpu is not None else _("the CPU")
    text = _("Segmenting works, on {where}.").format(where=where)
    if facts["training"]["usable"]:
        return text + " " + _("Fine-tuning works.")
    return text + " " + _("No fine-tuning yet ({why}).").format(why=facts["training"].get("why", ""))


def smallSetIsThere(facts: dict) -> bool:
    """Whether the CPU path can run."""
    return bool(facts) and not _missing(facts, SMALL_SET)


def trainingSetIsThere(facts: dict) -> bool:
    """Whether nothing but PyTorch can be missing for fine-tuning."""
    return bool(facts) and not _missing(facts, TRAINING_SET)


def torchIsBroken(facts: dict) -> bool:
    """Whether there is a torch that does not work, or what is left of one."""
    torch = facts.get("torch", {})
    left = torch.get("broken") or facts.get("packages", {}).get("torch") is not None
    return bool(torch) and not torch.get("usable") and bool(left)


def smallSet(requirements: str, wheels: str) -> str:
    """Install what segmenting on a CPU needs. Raises RuntimeError, CalledProcessError."""
    _ensure(requirements, wheels, None)
    return _("The small set is installed.")


def trainingSet(requirements: str, wheels: str) -> str:
    """Install what fine-tuning needs beside PyTorch. Raises RuntimeError, CalledProcessError.

    Slicer's numpy and this GPU's PyTorch stay as they are: pip takes versions of the others that go with them.
    """
    fixed = [f"{name}=={importlib.metadata.version(name)}\n" for name in ("numpy", "torch")]
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder) / "constraints.txt"
        constraints.write_text("".join(fixed), encoding="utf-8")
        _ensure(requirements, wheels, str(constraints))
    return _("What fine-tuning needs is installed.")


def _ensure(requirements: str, wheels: str, constraints: "str | None") -> None:
    """By Slicer's own installer, or from a folder of wheels where there is one."""
    import slicer.packaging

    wanted = slicer.packaging.load_requirements(requirements)
    if wheels:
        missing = [str(item) for item in wanted if not slicer.packaging.pip_check(item)]
        held = ["--constraint", constraints] if constraints else []
        slicer.util.pip_install([*held, "--no-index", "--find-links", wheels, *missing])
    else:
        slicer.packaging.pip_ensure(wanted, constraints=constraints, requester="PESemiSeg")


def torch() -> str:
    """Install PyTorch with Slicer's PyTorch extension, or offer the extension. Raises RuntimeError."""
    try:
        import PyTorchUtils
    except ImportError:
        question = _(
            "Slicer's PyTorch extension is needed. Install it from the extensions server, and restart?"
        )
        if not slicer.util.confirmOkCancelDisplay(question):
            return _("PyTorch was not installed.")
        slicer.app.extensionsManagerModel().installExtensionFromServer("PyTorch", True)
        return _("Restart Slicer, then click the button again.")
    logic = PyTorchUtils.PyTorchUtilsLogic()
    wished = {"askConfirmation": True, "torchVersionRequirement": TORCH_RANGE}
    known = inspect.signature(logic.installTorch).parameters
    made = logic.installTorch(**{name: value for name, value in wished.items() if name in known})
    if made is None:  # the user has declined
        return _("PyTorch was not installed.")
    return _("PyTorch is installed. Restart Slicer before you go on.")


def removeTorch() -> str:
    """Take PyTorch out of Slicer's Python, also where pip finds no record of it any more. Raises OSError."""
    found = _foldersOfTorch()
    if not found:
        return _("There is no PyTorch in Slicer's Python.")
    for name in _TORCH:
        if any(path.name.startswith(f"{name}-") for path in found):
            with suppress(Exception):  # a record is missing; Slicer raises RuntimeError and others here
                slicer.util.pip_uninstall(name)
    for path in _foldersOfTorch():
        shutil.rmtree(path)
    names = ", ".join(path.name for path in found)
    return _("Removed: {names}. Restart Slicer, then install PyTorch again.").format(names=names)


def _foldersOfTorch() -> list[Path]:
    """Its packages, their libraries and records in Slicer's own folder of packages."""
    wanted = [pattern.format(name) for name in _TORCH for pattern in ("{}", "{}.libs", "{}-*.dist-info")]
    places = {Path(sysconfig.get_path(name)) for name in ("purelib", "platlib")}
    found = {path for place in places for pattern in wanted for path in place.glob(pattern)}
    return sorted(path for path in found if path.is_dir())


def _missing(facts: dict, names: "tuple[str, ...]") -> list[str]:
    packages = facts.get("packages", {})
    return [name for name in names if packages.get(name) in (None, "broken")]


def _state(facts: dict, name: str) -> str:
    if facts.get("usable"):
        return f"{name} {facts.get('version', '')}"
    return facts.get("why", "")
