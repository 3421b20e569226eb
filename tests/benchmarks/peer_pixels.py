"""The search for text in films as it was before; runs in `.venv-bench`, prints its CPU time.

`python peer_pixels.py FOLDER`: `rapidocr-onnxruntime` on one thread, each film stretched between two percentiles and at
half size. Imports and the models' loading are not timed.
"""

import os
import sys
import time
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1"}


def main(folder: Path) -> float:
    """Seconds of CPU for all films."""
    import numpy as np
    from PIL import Image
    from pydicom.pixels import pixel_array
    from rapidocr_onnxruntime import RapidOCR

    engine = RapidOCR(intra_op_num_threads=1, inter_op_num_threads=1)
    engine.text_det.postprocess_op.box_thresh = 0.5
    start = time.process_time()
    for path in sorted(folder.iterdir()):
        values = pixel_array(path).astype(np.float32)
        low, high = np.percentile(values, (0.5, 99.5))
        grey = ((values - low) * (255 / (high - low))).clip(0, 255).astype(np.uint8)
        colour = np.dstack([grey] * 3)
        corners, _ = engine.text_det(np.asarray(Image.fromarray(colour).reduce(2)))
        if corners is not None and len(corners):
            engine.text_rec(engine.get_crop_img_list(colour, np.asarray(corners, dtype=np.float32) * 2))
    return time.process_time() - start


if __name__ == "__main__":
    sys.stdout.write(f"{main(Path(sys.argv[1])):.6f}\n")
