"""Prints the copyright file of the packages in the format of DEP-5."""

from __future__ import annotations

import sys
from importlib.metadata import distributions


def main() -> None:
    """Print the file for a folder of Python packages."""
    print("Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/")
    print("Upstream-Name: kpanic\n")
    print("Files: *\nCopyright: 2026 kpanic's authors\nLicense: Apache-2.0")
    print("Comment: /usr/lib/kpanic holds libraries; their dist-info folders have their licenses:")
    found = sorted(distributions(path=[sys.argv[1]]), key=lambda one: one.name.lower())
    for one in found:
        if one.name == "kpanic":
            continue
        metadata = one.metadata.json
        license_ = metadata.get("license_expression") or metadata.get("license") or ""
        name = license_ if license_ and "\n" not in license_ else "as stated there"
        author = metadata.get("author_email") or metadata.get("author") or one.name
        print(f" {one.name} {one.version}: {name}; {' '.join(str(author).split())}")
    print("\nLicense: Apache-2.0")
    print(" On Debian systems the full text is in /usr/share/common-licenses/Apache-2.0.")


if __name__ == "__main__":
    main()
