"""Controls inside nerfstudio's viewer: ask a scene in words and by clicks, and look at its key points."""
