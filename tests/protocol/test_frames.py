"""Ready-made frames are the frames websockets would make."""

import pytest
from tallycast.contract.frames import BINARY, TEXT, frame
from websockets.frames import Frame, Opcode


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 70000])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_a_frame_is_what_rfc_6455_says(opcode: int, size: int) -> None:
    payload = bytes(i % 251 for i in range(size))
    assert frame(opcode, payload) == Frame(Opcode(opcode), payload).serialize(mask=False)
