"""Many settings, each made once: the store, where they run, and the benchmark of defences."""
