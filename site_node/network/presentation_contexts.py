"""Presentation contexts: which objects, in which transfer syntaxes, we accept and ask for."""

from pydicom import uid
from pynetdicom.presentation import (
    AllStoragePresentationContexts,
    PresentationContext,
    StoragePresentationContexts,
    build_context,
)

_PLAIN = [uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian]
_LOSSLESS = [uid.JPEGLosslessSV1, uid.JPEGLSLossless, uid.JPEG2000Lossless, uid.RLELossless, uid.JPEGLossless]
_LOSSY = [uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEG2000, uid.JPEGLSNearLossless]
_REST = [uid.DeflatedExplicitVRLittleEndian, uid.ExplicitVRBigEndian]
_MOST = 128  # contexts in one association, PS3.8 9.3.2.2
_IMAGES = (  # what a chest study consists of; asked for as it lies in the PACS, compressed or not
    uid.CTImageStorage,
    uid.EnhancedCTImageStorage,
    uid.ComputedRadiographyImageStorage,
    uid.DigitalXRayImageStorageForPresentation,
    uid.DigitalXRayImageStorageForProcessing,
    uid.MRImageStorage,
    uid.EnhancedMRImageStorage,
    uid.SecondaryCaptureImageStorage,
)


def accepted() -> list[PresentationContext]:
    """Every storage class in every transfer syntax that the node reads; the first of ours that is offered is taken."""
    syntaxes = [*_PLAIN, *_LOSSLESS, *_LOSSY, *_REST]
    return [build_context(one.abstract_syntax, syntaxes) for one in AllStoragePresentationContexts]


def asked_for(query: str) -> tuple[list[PresentationContext], list[str]]:
    """The contexts of a C-GET with the query class `query`, and the storage classes in them.

    Each image class has contexts of its own for lossless and lossy syntaxes, so that what is compressed in the PACS
    need not be decompressed there; the other classes that pynetdicom's authors chose fill what is left of the 128.
    """
    images = [build_context(one, syntaxes) for one in _IMAGES for syntaxes in (_PLAIN, _LOSSLESS, _LOSSY)]
    others = [
        build_context(one.abstract_syntax, _PLAIN)
        for one in StoragePresentationContexts
        if one.abstract_syntax not in _IMAGES
    ]
    contexts = [build_context(query, _PLAIN), *images, *others][:_MOST]
    return contexts, sorted({str(one.abstract_syntax) for one in contexts[1:]})
