"""The built-in transports, one file each, registered under the entry point group ``kpanic.transports``."""
