"""Owns how the devices of a computer are put into a box, and why one of them cannot be used."""

from slicer.i18n import tr as _


def fill(combo, probe: dict, before: str) -> None:
    """Automatic, then every device that the look at this computer found; `before` stays chosen."""
    combo.blockSignals(True)
    combo.clear()
    combo.addItem(_("Automatic"), "auto")
    for device in probe.get("devices", ()):
        memory = f", {device['memory_gib']:g} GiB" if device.get("memory_gib") else ""
        unusable = "" if device.get("usable") else " " + _("(cannot be used)")
        name = _("CPU") if device["device"] == "cpu" else device["device"]
        combo.addItem(f"{name}: {device.get('name', '')}{memory}{unusable}", device["device"])
    combo.setCurrentIndex(max(0, combo.findData(before)))
    combo.blockSignals(False)


def fillForTraining(combo, probe: dict) -> None:
    """The GPUs that torch can use, then the CPU."""
    combo.clear()
    for device in probe.get("devices", ()):
        if device.get("usable") and device["device"] != "cpu":
            combo.addItem(f"{device['device']}: {device.get('name', '')}", device["device"])
    combo.addItem(_("CPU (slow)"), "cpu")


def fillPrecision(combo, probe: dict, device: str) -> None:
    """The precisions that a device computes in; automatic means the first device that can be used."""
    before = combo.currentData if combo.count else "auto"
    usable = [facts for facts in probe.get("devices", ()) if facts.get("usable")]
    facts = next((item for item in usable if device in ("auto", item["device"])), {})
    combo.clear()
    combo.addItem(_("automatic"), "auto")
    combo.addItem("float32", "fp32")
    if facts.get("bf16"):
        combo.addItem("bfloat16", "bf16")
    if facts.get("device", "cpu") != "cpu":
        combo.addItem("float16", "fp16")
    combo.setCurrentIndex(max(0, combo.findData(before)))


def whyNothing(probe: dict) -> str:
    """Why this computer cannot segment at all yet; empty where it can, or was not looked at."""
    if not probe or any(facts.get("usable") for facts in probe.get("devices", ())):
        return ""
    return _("Nothing can compute yet: install the small set on the Environment page")


def whyNot(probe: dict, device: str) -> str:
    """Why a device cannot be used, or why the automatic choice leaves a GPU aside."""
    for facts in probe.get("devices", ()):
        if not facts.get("usable") and device in ("auto", facts["device"]):
            return f"{facts.get('name', facts['device'])}: {facts.get('why', '')}"
    return ""
