"""The process that talks to Weights & Biases for `displays.Wandb`: messages come pickled on stdin.

The first is what `wandb.init` needs, each other (scalars, images, step); the last line on stderr
says how it ended. It imports nothing of this project, so that it starts fast.
"""

import os
import pickle
import sys
import threading
from typing import BinaryIO

LINGER = 60.0  # seconds that it may go on uploading after the training has ended


def main(messages: BinaryIO) -> str:
    """Log what comes in, until there is no more; return where it went."""
    import wandb

    settings = wandb.Settings(silent=True, console="off", init_timeout=30)
    # Without a key it would ask for one on the terminal.
    mode = os.environ.get("WANDB_MODE") or ("online" if wandb.login(prompt=False) else "offline")
    run = wandb.init(**pickle.load(messages), mode=mode, settings=settings)
    while True:
        try:
            scalars, arrays, step = pickle.load(messages)
        except EOFError:
            break
        images = {label: wandb.Image(array) for label, array in arrays.items()}
        run.log({**scalars, **images}, step=step)
    threading.Timer(LINGER, os._exit, [1]).start()
    folder = os.path.dirname(run.dir)
    run.finish()
    if mode == "disabled":
        return "disabled by WANDB_MODE; nothing was logged"
    return run.url or f"the run is in {folder}; `wandb sync {folder}` uploads it"


if __name__ == "__main__":
    try:
        ending, status = main(sys.stdin.buffer), 0
    except Exception as error:
        ending, status = " ".join(str(error).split()) or type(error).__name__, 1
    print(ending, file=sys.stderr, flush=True)
    os._exit(status)  # the client's own exit would wait for an upload without end
