from emotion_lightning.data.audit.policy import Policies
from emotion_lightning.report.audit_page import page
from tests.data.files import audit

REPORT = Policies()


def test_the_page_shows_pairs_and_escapes_names() -> None:
    html = page(audit("abadaefg", near=((1, 3),)))
    assert html.count("<figure>") >= 3
    assert html.count("data:image/png;base64,") >= 6
    assert "://" not in html
    evil = audit("aacdefgh")
    object.__setattr__(evil.manifest, "names", ("<script>.png", *evil.manifest.names[1:]))
    assert "<script>" not in page(evil)


def test_each_section_says_what_to_do_and_lists_all_its_files() -> None:
    found = audit("abadaefg", near=((1, 3),))
    html = page(found)
    sections = html.split("<h2 ")[1:]
    assert sections
    for section in sections:
        assert "What to do:" in section
        assert "<textarea readonly" in section
    assert "<code>--data.leaks drop</code>" in html or not found.leaks
    identical = html.split("Identical images:")[-1]
    assert "\t".join(found.manifest.names[index] for index in found.identical[0]) in identical
    assert "Content-Security-Policy" in html
    assert "<title>Audit of the data</title>" in html  # which these have no folder for
