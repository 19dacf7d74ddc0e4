"""Makes a feature bank and is killed with half of its third part written."""

import os
import signal
import sys

import numpy as np
from mmengine.registry import init_default_scope

from mmdino.evaluation import feature_bank
from mmdino.evaluation.bank_extraction import load_evaluated, make_bank
from mmdino.evaluation.bank_images import labelled_images
from mmdino.evaluation.extraction_options import ExtractionOptions

save, calls = np.save, []


def save_half(file, array):
    calls.append(array)
    if len(calls) == 3:
        file.write(b"half a part")
        file.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    save(file, array)


feature_bank.np.save = save_half
checkpoint, folder, bank = sys.argv[1:]
init_default_scope("mmpretrain")
options = ExtractionOptions(size=40, crop=32, batch_size=3, workers=1)
images = labelled_images(folder, options)
make_bank(load_evaluated(checkpoint, num_heads=2), images, bank, options, part_size=4)
