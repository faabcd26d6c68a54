"""From py:percent sources to notebooks: ``build.build`` is the entry."""
