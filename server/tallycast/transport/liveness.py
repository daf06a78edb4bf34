"""The deadlines of connections, the same for all transports.

Owns the numbers. Does not depend on how a transport keeps to them.
"""

# A message is sent when nothing else was for this long (s).
BEAT_AFTER = 25.0
# A peer that reads nothing of what waits for it is dropped after this long (s).
STALL_AFTER = 15.0
# A handshake, opening or closing, is given up after this long (s).
CLOSE_WITHIN = 5.0
