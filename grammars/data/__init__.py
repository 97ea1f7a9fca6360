"""What is known about functions of the kernel, as data: a reason for every entry."""
