"""From raw files to engine-ready events: sources, ordering, doctor, store."""
