"""The nodes of one site: who makes which file, who has it, and what was decided. Nothing is done twice."""
