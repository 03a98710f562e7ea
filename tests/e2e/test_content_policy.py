"""The page lives under a policy that allows nothing inline, and the policy holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from playwright.sync_api import Page, expect

from tests.e2e.studio import Studio, tab, watch_of

LISTEN: Final = """() => {
  window.refused = []
  document.addEventListener('securitypolicyviolation', (event) => window.refused.push(`${event.effectiveDirective} ${event.blockedURI}`))
}"""

SMUGGLE: Final = """() => new Promise((resolve) => {
  const place = document.createElement('div')
  document.body.append(place)
  const look = () => {
    const seen = getComputedStyle(place.querySelector('b'))
    const isRed = [seen.color, seen.backgroundColor].includes('rgb(255, 0, 0)')
    return [window.refused.toSorted(), isRed, window.wasSmuggled ?? false]
  }
  // Violations are told in tasks of their own.
  document.addEventListener('securitypolicyviolation', () => window.refused.length >= 3 && resolve(look()))
  setTimeout(() => resolve(look()), 10_000)
  place.innerHTML = '<style>#smuggled { color: red }</style><b id="smuggled" style="background: red">x</b>'
  const script = document.createElement('script')
  script.textContent = 'window.wasSmuggled = true'
  place.append(script)
})"""


def test_every_tab_and_dialog_lives_without_inline_styles_and_smuggled_markup_does_nothing(
    open_page: Callable[..., Page], studio: Studio
) -> None:
    studio.finished_job()
    page = open_page()
    assert watch_of(page).faults == [], "the document itself"
    page.evaluate(LISTEN)
    page.get_by_role("button", name="New training job").first.click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("combobox").first.click()
    expect(page.get_by_role("listbox")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("listbox")).to_have_count(0)
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    for name in ("Metrics", "Models"):
        tab(page, name).click()
        expect(page.get_by_role("tabpanel")).to_be_visible()
    page.get_by_role("button", name="Import model").first.click()
    expect(dialog).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    page.keyboard.press("Control+k")
    expect(dialog).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    assert page.evaluate("window.refused") == []

    watch_of(page).expect("Content Security Policy")
    refused, is_red, has_run = page.evaluate(SMUGGLE)
    assert refused == ["script-src-elem inline", "style-src-attr inline", "style-src-elem inline"]
    assert (is_red, has_run) == (False, False)
