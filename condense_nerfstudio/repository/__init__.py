"""Collections of condensed scenes that answer questions: reads condensed scenes and teachers, and needs no NeRF."""
