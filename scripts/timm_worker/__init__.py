"""Fine-tunes timm models on request and tells of every epoch.

A worker is one process on one GPU, or on some cores. It reads requests and writes
records as JSON lines (docs/worker-protocol.md); what is trained, where and how often
is decided by the program that sends the requests. It needs Python 3.10, torch 1.13,
torchvision 0.14 and timm 0.9, or anything newer.
"""

PROTOCOL = 1
