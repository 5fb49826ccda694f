"""Commands of ``wtmo``, a module each: thin, the library does the work. :mod:`wtmo.cli` registers them."""
