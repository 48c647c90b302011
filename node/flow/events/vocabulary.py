"""The words of the Core Business Vocabulary 2.0, and one spelling for each.

Source: GS1 Core Business Vocabulary 2.0, sections 7 and 10 (sensor measurement types: GS1 Web Vocabulary). A word is
written bare in EPCIS 2.0 JSON (`departing`), as `https://ref.gs1.org/cbv/BizStep-departing` in linked data and as
`urn:epcglobal:cbv:bizstep:departing` in older XML. The bare word is the one spelling here.
"""

from dataclasses import dataclass

__all__ = [
    "ALERT",
    "BIZ_STEP",
    "BIZ_TRANSACTION",
    "COMPONENT",
    "DISPOSITION",
    "ERROR_REASON",
    "MEASUREMENT",
    "PARTY_ROLE",
    "WordList",
    "bare",
    "is_own_value",
]


@dataclass(frozen=True, slots=True)
class WordList:
    """One vocabulary: its words and how they begin when written as a full URI.

    Attributes:
        uri: what stands before the word in linked data; the event hash uses this spelling.
        urn: what stands before the word in older documents; None where there was no such spelling.
    """

    uri: str
    urn: str | None
    words: frozenset[str]

    def expanded(self, written: str) -> str:
        """Return the linked-data spelling; what is no word of this list comes back as it is."""
        word = bare(written)
        return self.uri + word if word in self.words else written


def _list(uri: str, urn: str | None, words: str) -> WordList:
    return WordList(uri, urn, frozenset(words.split()))


BIZ_STEP = _list(
    "https://ref.gs1.org/cbv/BizStep-",
    "urn:epcglobal:cbv:bizstep:",
    """accepting arriving assembling collecting commissioning consigning creating_class_instance cycle_counting
    decommissioning departing destroying disassembling dispensing encoding entering_exiting holding inspecting
    installing killing loading other packing picking receiving removing repackaging repairing replacing reserving
    retail_selling sampling sensor_reporting shipping staging_outbound stock_taking stocking storing transporting
    unloading unpacking void_shipping""",
)
DISPOSITION = _list(
    "https://ref.gs1.org/cbv/Disp-",
    "urn:epcglobal:cbv:disp:",
    """active available completeness_inferred completeness_verified conformant container_closed container_open
    damaged destroyed dispensed disposed encoded expired in_progress in_transit inactive mismatch_class
    mismatch_instance mismatch_quantity needs_replacement no_pedigree_match non_conformant non_sellable_other
    partially_dispensed recalled reserved retail_sold returned sellable_accessible sellable_not_accessible stolen
    unavailable unknown""",
)
BIZ_TRANSACTION = _list(
    "https://ref.gs1.org/cbv/BTT-",
    "urn:epcglobal:cbv:btt:",
    "bol cert desadv inv pedigree po poc prodorder recadv rma testprd testres upevt",
)
PARTY_ROLE = _list(
    "https://ref.gs1.org/cbv/SDT-", "urn:epcglobal:cbv:sdt:", "owning_party possessing_party location"
)
ERROR_REASON = _list("https://ref.gs1.org/cbv/ER-", "urn:epcglobal:cbv:er:", "did_not_occur incorrect_data")
COMPONENT = _list(
    "https://ref.gs1.org/cbv/Comp-",
    None,
    """x y z axial_distance azimuth height spherical_radius polar_angle elevation_angle easting northing latitude
    longitude altitude""",
)
ALERT = _list("https://gs1.org/voc/", None, "ALARM_CONDITION ERROR_CONDITION")
MEASUREMENT = _list(
    "https://gs1.org/voc/",
    None,
    """AbsoluteHumidity AbsorbedDose AbsorbedDoseRate Acceleration Altitude AmountOfSubstance
    AmountOfSubstancePerUnitVolume Angle AngularAcceleration AngularMomentum AngularVelocity Area Capacitance
    Conductance Conductivity Count Density Dimensionless DoseEquivalent DoseEquivalentRate DynamicViscosity
    ElectricCharge ElectricCurrent ElectricCurrentDensity ElectricFieldStrength Energy Exposure Force Frequency
    Illuminance Inductance Irradiance KinematicViscosity Length LinearMomentum Luminance LuminousFlux
    LuminousIntensity MagneticFlux MagneticFluxDensity MagneticVectorPotential Mass MassConcentration MassFlowRate
    MassPerAreaTime MemoryCapacity MolalityOfSolute MolarEnergy MolarMass MolarVolume Power Pressure RadiantFlux
    RadiantIntensity Radioactivity RelativeHumidity Resistance Resistivity SolidAngle SpecificVolume Speed
    SurfaceDensity SurfaceTension Temperature Time Torque Voltage Volume VolumeFlowRate VolumeFraction
    VolumetricFlux Wavenumber""",
)

_LISTS = (BIZ_STEP, DISPOSITION, BIZ_TRANSACTION, PARTY_ROLE, ERROR_REASON, COMPONENT, ALERT, MEASUREMENT)
#: every full spelling of a word → the bare word.
_BARE = {
    start + word: word
    for words in _LISTS
    for start in (words.uri, words.urn)
    if start is not None
    for word in words.words
}
#: GS1 keeps these for itself: in JSON its words are written bare, and nobody else's values begin so.
_RESERVED = ("urn:epcglobal:cbv", "http://ns.gs1.org/cbv/", "https://ns.gs1.org/cbv/")


def bare(written: str) -> str:
    """Return the bare word of a CBV value in any of its spellings; every other value as it is."""
    return _BARE.get(written, written)


def is_own_value(uri: str) -> bool:
    """Whether a URI may stand for a value of one's own, outside what GS1 keeps for itself."""
    return not uri.startswith(_RESERVED)
