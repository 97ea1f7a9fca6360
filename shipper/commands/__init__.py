"""The commands of ``kpanic``: each module has a click command named ``command``."""
