"""Give up root's way past permissions and, if asked, room on the disk; then become a program.

`python restrained.py MOST_BYTES PROGRAM ARGUMENT ...`: MOST_BYTES of a file, or "unlimited".
"""

import ctypes
import os
import resource
import sys

DROP_CAPABILITY, PAST_PERMISSIONS = 24, (1, 2)  # of prctl; to write, and to read

if __name__ == "__main__":
    most, *command = sys.argv[1:]
    for capability in PAST_PERMISSIONS:
        ctypes.CDLL(None).prctl(DROP_CAPABILITY, capability, 0, 0, 0)
    if most != "unlimited":
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(most), int(most)))
    os.execv(command[0], command)
