"""How full a tank may be, by the temperature at which it is filled (ADR and JT/T 617, 4.3.2.2 and 4.2.1.9).

`greatest degree of filling % = k / (1 + a (50 - tF))`, `a = (d15 - d50) / (35 d50)`; a heated substance at most 95
%; a compartment of more than 7500 l without surge plates not between 20 and 80 %. Densities in kg/l, volumes in
litres.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from node.flow.models.checks import number
from registry.errors import InvalidValueError

__all__ = ["Compartment", "Tank", "TankKind", "coefficient", "density_at", "greatest_filling", "surging"]

_REFERENCE = 50.0
_SPAN = 35.0


class TankKind(StrEnum):
    """Which line of the table holds; each value names the parameter with k."""

    VENTED_FLAMMABLE = "fill_vented_flammable"
    VENTED_TOXIC = "fill_vented_toxic"
    CLOSED = "fill_closed"
    CLOSED_TOXIC = "fill_closed_toxic"
    PORTABLE = "fill_portable"
    PORTABLE_TOXIC = "fill_portable_toxic"


@dataclass(frozen=True, slots=True)
class Compartment:
    """One compartment: its volume, how much liquid is in it, and whether it has surge plates."""

    volume_l: float
    filled_l: float
    baffled: bool = False


@dataclass(frozen=True, slots=True)
class Tank:
    """A tank and what it is filled with."""

    kind: TankKind
    volume_l: float
    density_15: float
    density_50: float
    filling_celsius: float
    heated: bool = False
    compartments: tuple[Compartment, ...] = ()

    def checked(self, field: str) -> "Tank":
        """Return this tank.

        Raises:
            InvalidValueError: a figure is missing or impossible.
        """
        number(self.volume_l, f"{field}.volume_l", above=0)
        coefficient(self.density_15, self.density_50, field)
        number(self.filling_celsius, f"{field}.filling_celsius", least=-273.15, most=400)
        for i, one in enumerate(self.compartments):
            where = f"{field}.compartments[{i}]"
            volume = number(one.volume_l, f"{where}.volume_l", above=0)
            number(one.filled_l, f"{where}.filled_l", least=0, most=volume)
        return self


def coefficient(density_15: float, density_50: float, field: str = "tank") -> float:
    """Return the mean coefficient of expansion between 15 and 50 °C, 1/K.

    Raises:
        InvalidValueError: a density is not above zero, or the liquid would shrink on warming.
    """
    cold = number(density_15, f"{field}.density_15", above=0)
    warm = number(density_50, f"{field}.density_50", above=0)
    if warm > cold:
        raise InvalidValueError(
            "node.flow_models.too_large", field=f"{field}.density_50", value=warm, limit=cold
        )
    return (cold - warm) / (_SPAN * warm)


def _growth(tank: Tank) -> float:
    """Return by how much the liquid's volume grows from filling to 50 °C.

    Raises:
        InvalidValueError: the filling temperature is so far beyond that the line has no meaning.
    """
    growth = 1 + coefficient(tank.density_15, tank.density_50) * (_REFERENCE - tank.filling_celsius)
    return number(growth, "tank.filling_celsius", above=0)


def density_at(tank: Tank) -> float:
    """Return the density at the filling temperature, kg/l; the same straight line as the coefficient."""
    return tank.density_50 * _growth(tank)


def greatest_filling(tank: Tank, p: Mapping[str, float]) -> float:
    """Return the greatest degree of filling in percent of the volume."""
    greatest = p[tank.kind.value] / _growth(tank)
    return min(greatest, p["fill_heated"]) if tank.heated else min(greatest, 100.0)


def surging(tank: Tank, p: Mapping[str, float]) -> list[tuple[int, float]]:
    """Return number (from 1) and degree of filling of the compartments in which the liquid may surge."""
    found = []
    for i, one in enumerate(tank.compartments):
        percent = one.filled_l / one.volume_l * 100
        free = not one.baffled and one.volume_l > p["surge_volume_l"]
        if free and p["surge_from"] < percent < p["surge_to"]:
            found.append((i + 1, percent))
    return found
