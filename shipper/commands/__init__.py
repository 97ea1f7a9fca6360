"""The commands of ``kpanic``, one a file, each a click command named ``command``."""
