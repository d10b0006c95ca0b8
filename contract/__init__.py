"""Wire and artefact formats, shared by every component: pure, no I/O, no clock."""
