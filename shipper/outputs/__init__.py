"""The built-in outputs, one file each; what an output is: :class:`kpanic.shipper.api.Output`."""
