"""The built-in inputs, one file each; what an input is: :class:`kpanic.shipper.api.Input`."""
