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
