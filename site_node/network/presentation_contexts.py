"""Presentation contexts: the storage classes and transfer syntaxes that we accept and request."""

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
_MOST = 128  # contexts in one association, PS3.8 9.3.2.2: 88 for the images, one for the query, 39 for the rest
_IMAGES = (  # the images of a chest study; requested as the PACS stores them, compressed or not
    uid.CTImageStorage,
    uid.EnhancedCTImageStorage,
    uid.ComputedRadiographyImageStorage,
    uid.DigitalXRayImageStorageForPresentation,
    uid.DigitalXRayImageStorageForProcessing,
    uid.MRImageStorage,
    uid.EnhancedMRImageStorage,
    uid.SecondaryCaptureImageStorage,
)


def supported_contexts() -> list[PresentationContext]:
    """Every storage class in every transfer syntax that the node reads, in our order of preference."""
    syntaxes = [*_PLAIN, *_LOSSLESS, *_LOSSY, *_REST]
    return [build_context(context.abstract_syntax, syntaxes) for context in AllStoragePresentationContexts]


def retrieve_contexts(query_class: str) -> tuple[list[PresentationContext], list[str]]:
    """The contexts of a C-GET with `query_class`, and the storage classes in them.

    Each image class has one context for each syntax: of several syntaxes in one context the PACS accepts a single one
    (PS3.8 9.3.3.2), and may then be unable to send an image that it stores in another. pynetdicom's other default
    storage classes fill the rest of the 128, uncompressed.
    """
    syntaxes = [*_PLAIN, *_LOSSLESS, *_LOSSY]
    images = [build_context(image, syntax) for image in _IMAGES for syntax in syntaxes]
    others = [
        build_context(context.abstract_syntax, _PLAIN)
        for context in StoragePresentationContexts
        if context.abstract_syntax not in _IMAGES
    ]
    contexts = [build_context(query_class, _PLAIN), *images, *others][:_MOST]
    return contexts, sorted({str(context.abstract_syntax) for context in contexts[1:]})
