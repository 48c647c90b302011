"""Where the node keeps its signing keys: a folder of files, or a device with the folder behind it."""

from node.settings import Settings
from registry.prefixes.homes import Keys
from registry.trust.keys import KeyFolder, Signer
from registry.trust.pkcs11 import Pkcs11Keys

__all__ = ["DeviceKeys", "open_keys"]


class DeviceKeys:
    """New keys are made in the device; those that were in the folder before it came go on until they are rotated.

    Consistency, durability, concurrency, errors: as the device for its keys, as the folder for the others; a device
    that does not answer makes every one of its keys unavailable, and never another one take their place.
    """

    def __init__(self, *, device: Keys, folder: Keys) -> None:
        self._device = device
        self._folder = folder

    def create(self, alg: str = "Ed25519") -> Signer:
        """Make a key pair in the device.

        Raises:
            NotSupportedError, UntrustedError: the device does not make such keys.
            UnavailableError: it does not answer.
        """
        return self._device.create(alg)

    def load(self, kid: str) -> Signer:
        """Return the key pair with this thumbprint.

        Raises:
            UnavailableError: it is in neither place, or the device does not answer.
            UntrustedError: it is not the key its name says.
        """
        return (self._folder if kid in self._folder.kids() else self._device).load(kid)

    def kids(self) -> tuple[str, ...]:
        """Return the thumbprints of all keys, in order.

        Raises:
            UnavailableError: the device does not answer.
        """
        return tuple(sorted({*self._folder.kids(), *self._device.kids()}))


def open_keys(settings: Settings) -> Keys:
    """Return the place the settings name; nothing is opened in it yet.

    Raises:
        InvalidValueError: passphrase or PIN cannot be read.
        NotSupportedError: a device is named, and its package is not installed.
    """
    folder = KeyFolder(settings.data / "keys", settings.passphrase())
    if not settings.keys.module:
        return folder
    device = Pkcs11Keys(module=settings.keys.module, token=settings.keys.token, pin=settings.pin())
    return DeviceKeys(device=device, folder=folder)
