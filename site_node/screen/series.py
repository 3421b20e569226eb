"""Rules for the slices of one series together: geometry, slice thickness, reconstruction kernel."""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from itertools import pairwise
from statistics import median

from shared.protocol.criteria import Criteria, GeometryRule, KernelRule, ThicknessRule
from site_node.screen.facts import Facts, Slice
from site_node.screen.instance import normal_of
from site_node.screen.reasons import reason
from site_node.study import Reason

_SAME_COSINE = 0.01  # direction cosines that differ by less are one orientation (about half a degree)
_SAME_PLACE_MM = 0.01
_GAP = 1.5  # spacings


def check_series(members: Sequence[Facts], criteria: Criteria) -> tuple[Reason, ...]:
    """The reasons of every series-level rule for the instances that no instance-level rule rejected."""
    modality = members[0].modality
    slices = [frame for facts in members for frame in facts.slices]
    reasons: tuple[Reason, ...] = ()
    if criteria.geometry and modality in criteria.geometry.modalities:
        reasons += check_geometry(slices, criteria.geometry)
    if criteria.thickness and modality in criteria.thickness.modalities:
        reasons += check_thickness(slices, criteria.thickness)
    if criteria.kernel and modality in criteria.kernel.modalities:
        reasons += check_kernel({kernel for facts in members for kernel in facts.kernels}, criteria.kernel)
    return reasons


def check_geometry(slices: Sequence[Slice], rule: GeometryRule) -> tuple[Reason, ...]:
    """One orientation, each position once, even spacing; few positions are not a volume (bolus tracking, scouts)."""
    attribute = "ImagePositionPatient"
    orientations = [frame.orientation for frame in slices if frame.orientation]
    if any(frame.position is None for frame in slices) or not orientations:
        return reason(rule.missing, "position-missing", attribute)
    if any(
        abs(a - b) > _SAME_COSINE for cosines in orientations for a, b in zip(cosines, orientations[0], strict=True)
    ):
        return reason(rule.mixed_orientation, "mixed-orientation", "ImageOrientationPatient")
    places = _places(slices)
    gaps = [after - before for before, after in pairwise(places)]
    distinct = [gap for gap in gaps if gap > _SAME_PLACE_MM]
    if len(distinct) + 1 < rule.minimum_positions:
        return reason(rule.few_positions, "few-positions", attribute)
    reasons: tuple[Reason, ...] = ()
    if len(distinct) < len(gaps):
        reasons += reason(rule.repeated_position, "repeated-position", attribute)
    return reasons + _check_spacing(distinct, rule)


def _check_spacing(gaps: Sequence[float], rule: GeometryRule) -> tuple[Reason, ...]:
    usual = median(gaps)
    if max(gaps) >= _GAP * usual:
        return reason(rule.missing_slice, "slice-missing", "ImagePositionPatient")
    if any(abs(gap - usual) > max(rule.spacing_tolerance * usual, _SAME_PLACE_MM) for gap in gaps):
        return reason(rule.uneven_spacing, "uneven-spacing", "ImagePositionPatient")
    return ()


def _places(slices: Sequence[Slice]) -> list[float]:
    """Where the slices lie along their common normal, in mm, ascending."""
    normal = normal_of(next(frame.orientation for frame in slices if frame.orientation))
    positions = (frame.position for frame in slices if frame.position)
    return sorted(sum(a * b for a, b in zip(position, normal, strict=True)) for position in positions)


def check_thickness(slices: Sequence[Slice], rule: ThicknessRule) -> tuple[Reason, ...]:
    """Thickness lies in the preferred range and agrees with the spacing of the slices."""
    attribute = "SliceThickness"
    thicknesses = [frame.thickness for frame in slices if frame.thickness]
    if len(thicknesses) < len(slices):
        return reason(rule.missing, "thickness-missing", attribute)
    reasons: tuple[Reason, ...] = ()
    if min(thicknesses) < rule.minimum_mm or max(thicknesses) > rule.maximum_mm:
        reasons += reason(rule.outside, "thickness", attribute)
    spacing = _spacing(slices)
    pair = sorted((spacing or thicknesses[0], median(thicknesses)))
    if pair[1] > rule.spacing_ratio * pair[0]:
        reasons += reason(rule.unlike_spacing, "thickness-unlike-spacing", attribute)
    return reasons


def _spacing(slices: Sequence[Slice]) -> float | None:
    if any(frame.position is None or frame.orientation is None for frame in slices):
        return None
    places = _places(slices)
    gaps = [after - before for before, after in pairwise(places) if after - before > _SAME_PLACE_MM]
    return median(gaps) if gaps else None


def check_kernel(kernels: set[str], rule: KernelRule) -> tuple[Reason, ...]:
    """The reconstruction kernel is of a preferred kind, by the vendors' names."""
    kinds = {kind_of(kernel, rule) for kernel in kernels} or {None}
    if None in kinds:
        return reason(rule.unknown, "kernel-unknown", "ConvolutionKernel")
    if not kinds <= set(rule.preferred):
        return reason(rule.other, "kernel", "ConvolutionKernel")
    return ()


def kind_of(kernel: str, rule: KernelRule) -> str | None:
    """The kind of a vendor's kernel name; `None` for one the criteria do not know."""
    for kind, patterns in rule.kinds.items():
        if any(fnmatchcase(kernel, pattern) for pattern in patterns):
            return kind
    return None
