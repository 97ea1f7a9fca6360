"""The committed artefacts are those that the model generates, byte by byte."""

from __future__ import annotations

import json

import pytest

from kpanic.dashboards import export, templates
from kpanic.dashboards.export import EXPORTS
from kpanic.dashboards.regenerate import FOLDER, artefacts
from kpanic.dashboards.rules import Options


@pytest.fixture(scope="module")
def made() -> dict[str, str]:
    return artefacts()


def test_the_folder_holds_these_files_and_no_other(made: dict[str, str]) -> None:
    assert {path.name for path in FOLDER.iterdir()} == made.keys()


def test_each_file_is_what_the_model_gives(made: dict[str, str]) -> None:
    stale = [name for name, text in made.items() if (FOLDER / name).read_bytes() != text.encode()]
    assert stale == [], "run: python -m kpanic.dashboards.regenerate"
    assert artefacts() == made


@pytest.mark.parametrize(
    ("kind", "format"), [(kind, one) for kind, formats in EXPORTS.items() for one in formats]
)
def test_everything_can_be_exported(kind: str, format: str) -> None:  # noqa: A002
    text = export(kind, format)
    assert text.endswith("\n")
    if format != "elastalert2":
        ndjson = (kind == "alert" and format != "grafana") or format in {"kibana", "opensearch-dashboards"}
        for line in text.splitlines() if ndjson else [text]:
            json.loads(line)


def test_a_site_s_fleet_is_in_every_dashboard_of_panics() -> None:
    for form in EXPORTS["dashboard"]:
        plain, sized = export("dashboard", form), export("dashboard", form, Options(fleet=4321))
        assert ("4321" in sized) is not form.endswith(("signature", "long-term")), form
        assert "4321" not in plain


def test_templates_and_policies_are_the_ones_that_setup_installs() -> None:
    assert json.loads(export("template", "opensearch")) == templates.panics_template("opensearch")
    assert json.loads(export("policy", "elasticsearch")) == templates.policy("elasticsearch")


@pytest.mark.parametrize(("kind", "format"), [("dashbord", "kibana"), ("dashboard", "splunk")])
def test_an_unknown_name_lists_the_known_ones(kind: str, format: str) -> None:  # noqa: A002
    with pytest.raises(LookupError, match=r"there are .*(opensearch-dashboards|policy)"):
        export(kind, format)
