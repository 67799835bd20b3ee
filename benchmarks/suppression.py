"""How much a list of suppressed people slows a load down: the work per chunk that it adds, in processor time."""

import statistics
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from loader.inputs.chunk import CHUNK_SIZE
from loader.inputs.file import File
from loader.inputs.formats import read_contents
