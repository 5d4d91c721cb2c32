"""The Qt panel of the module: widgets over a logic that is handed to it."""

from .panel import RegistrationPanel

__all__ = ["RegistrationPanel"]
