"""What the devices can do, and whether a small registration comes out right."""

from __future__ import annotations

from .findings import OK, PROBLEM, Finding
from .process import Outcome, run_probe

# A quarter of a voxel of the pair that is registered; it is found to a hundredth of a millimetre.
LARGEST_ERROR_MM = 0.5
REPORT = "Please report this together with what `deepregister doctor --json` prints."


def measure(device: str, cpu_milliseconds: float | None = None) -> Finding:
    """How fast a device is, in time and beside the processor, and how much memory it has left."""
    return judge_speed(device, run_probe("speed", device), cpu_milliseconds)


def judge_speed(device: str, outcome: Outcome, cpu_milliseconds: float | None = None) -> Finding:
    """What a measurement's outcome means."""
    values = outcome.values
    title = values.get("title", device)
    name = f"device {device}"
    other = ("Until it is mended choose the device cpu.",) if device != "cpu" else ()
    if outcome.failure or "milliseconds" not in values:
        return Finding("devices", name, PROBLEM, f"{title} cannot compute. {outcome.failure}", other)
    if not values["agrees"]:
        text = f"{title} computes other values than the processor."
        return Finding("devices", name, PROBLEM, text, (*other, "Update its driver. " + REPORT))
    milliseconds, free = values["milliseconds"], values["memory_free_bytes"]
    text = f"{title}: warps and filters 128 x 128 x 128 voxels in {milliseconds:.3g} ms"
    ratio = None if cpu_milliseconds is None else cpu_milliseconds / milliseconds
    if ratio is not None:
        text += f", {ratio:.3g} times as fast as the processor"
    text += (
        f"; {free / 1e9:.1f} GB of memory free"
        if free is not None
        else "; the system does not say how much memory is free"
    )
    facts = {"milliseconds": milliseconds, "times_cpu": ratio, "memory_free_bytes": free}
    return Finding("devices", name, OK, text, (), facts)


def register() -> Finding:
    """Start the worker process and register a small pair with a known answer."""
    return judge_registration(run_probe("registration"))


def judge_registration(outcome: Outcome) -> Finding:
    """What a small registration's outcome means."""
    values = outcome.values
    facts = {key: values.get(key) for key in ("hello", "load_seconds", "seconds", "device", "error_mm")}
    if outcome.failure:
        began = "The registration process started, but" if values.get("hello") else "The registration process:"
        text = f"{began} {outcome.failure}"
        return Finding("worker", "registration", PROBLEM, text, (REPORT,) if values.get("hello") else (), facts)
    if values["error_mm"] > LARGEST_ERROR_MM:
        text = f"A small pair was registered on {values['device']}, but wrong by {values['error_mm']:.1f} mm."
        return Finding("worker", "registration", PROBLEM, text, ("Choose the device cpu. " + REPORT,), facts)
    text = (
        f"The registration process (DeepRegister {values['hello']['version']}, Python {values['hello']['python']}) was "
        f"ready after {values['load_seconds']:.1f} s and registered a small known pair on {values['device']} in "
        f"{values['seconds']:.1f} s, right to {values['error_mm']:.2f} mm"
    )
    return Finding("worker", "registration", OK, text, (), facts)
