"""Owns installing into Slicer's Python, by Slicer's own means, and the wording of what is there.

Every function here is called from a button; nothing goes over the network otherwise.
"""

import importlib.metadata
import inspect

import slicer
from slicer.i18n import tr as _

SMALL_SET = ("numpy", "scipy", "SimpleITK", "pydicom", "highdicom", "scikit-image", "openvino", "jinja2")
_TORCH = ("torch", "torchvision", "torchaudio", "torchgen", "functorch")
TORCH_RANGE = ">=2.6"


def rows(facts: dict) -> list[tuple[str, str]]:
    """What a look at this computer found, line by line."""
    if not facts:
        return []
    python, computer, packages = facts["python"], facts["computer"], facts["packages"]
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
    missing = [name for name in SMALL_SET if packages.get(name) in (None, "broken")]
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
    return (
        text
        + " "
        + (_("Fine-tuning works.") if facts["training"]["usable"] else _("Fine-tuning needs PyTorch."))
    )


def smallSetIsThere(facts: dict) -> bool:
    """Whether the CPU path can run."""
    packages = facts.get("packages", {})
    return bool(packages) and all(packages.get(name) not in (None, "broken") for name in SMALL_SET)


def torchIsBroken(facts: dict) -> bool:
    """Whether there is a torch that does not work."""
    torch = facts.get("torch", {})
    return bool(torch) and not torch.get("usable") and facts.get("packages", {}).get("torch") is not None


def smallSet(requirements: str, wheels: str) -> str:
    """Install what segmenting on a CPU needs. Raises RuntimeError, CalledProcessError."""
    import slicer.packaging

    wanted = slicer.packaging.load_requirements(requirements)
    if wheels:
        missing = [str(item) for item in wanted if not slicer.packaging.pip_check(item)]
        slicer.util.pip_install(["--no-index", "--find-links", wheels, *missing])
    else:
        slicer.packaging.pip_ensure(wanted, requester="PESemiSeg")
    return _("The small set is installed.")


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
    logic.installTorch(**{name: value for name, value in wished.items() if name in known})
    return _("PyTorch is installed. Restart Slicer before you go on.")


def removeTorch() -> str:
    """Take every package of PyTorch out of Slicer's Python. Raises RuntimeError, CalledProcessError."""
    there = {
        name.lower() for name in (d.metadata["Name"] for d in importlib.metadata.distributions()) if name
    }
    for name in _TORCH:
        if name in there:
            slicer.util.pip_uninstall(name)
    return _("PyTorch was removed. Restart Slicer, then install it again.")


def _state(facts: dict, name: str) -> str:
    if facts.get("usable"):
        return f"{name} {facts.get('version', '')}"
    return facts.get("why", "")
