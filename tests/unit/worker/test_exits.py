import signal

import pytest

from heimdall.worker.exits import ExitCode, describe_exit


@pytest.mark.parametrize(
    ("return_code", "sentence"),
    [
        (-signal.SIGKILL, "The training process was killed (SIGKILL), perhaps out of memory."),
        (-signal.SIGSEGV, "The training process was killed (SIGSEGV), a crash inside a native library."),
        (-signal.SIGTERM, "The training process was killed (SIGTERM)."),
        (1, "The training process ended with exit code 1; its log says why."),
        (0, "The training process ended without a result."),
        (ExitCode.GAVE_UP, "The training process gave up: the database or the file store did not answer."),
        (-200, "The training process was ended by signal 200."),
    ],
)
def test_every_end_has_a_sentence(return_code: int, sentence: str) -> None:
    assert describe_exit(return_code) == sentence
