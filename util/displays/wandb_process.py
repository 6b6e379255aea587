"""The process that logs to Weights & Biases for `wandb_display.Wandb`.

It reads pickled messages from stdin: first the arguments of `wandb.init`, then tuples (scalars,
images, step). Its last line on stderr is the result. It imports nothing of this project, so that
it starts fast.
"""

import os
import pickle
import sys
import threading
from typing import BinaryIO

LINGER = 60.0  # seconds that it may upload after the training has ended


def main(messages: BinaryIO) -> str:
    """Log all messages until the end of the stream; return the URL or folder of the run."""
    import wandb

    settings = wandb.Settings(silent=True, console="off", init_timeout=30)
    # Without a key, wandb.init would ask for one on the terminal.
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
    os._exit(status)  # a normal exit would wait for the upload without a limit
