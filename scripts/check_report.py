#!/usr/bin/env python3
"""Opens reports in headless Chromium and looks for what a reader would trip over.

    python3 scripts/check_report.py results/runs/first/report.html --out shots

Each file is opened from disk at 1280 and 390 pixels, light and dark. It must ask
for nothing else, write nothing to the console, not be wider than the window, and
in no figure may two texts overlap or a text leave its figure. With --out, pictures
of the whole page are kept. Needs playwright and Chromium (--chromium PATH).
"""

from __future__ import annotations

import argparse
import itertools
import shutil
import sys
from pathlib import Path

from playwright.sync_api import ConsoleMessage, Page, Request, sync_playwright

WIDTHS = (1280, 390)
THEMES = ("light", "dark")

# Texts that are turned are left out: their boxes are larger than they are.
PROBLEMS = """
() => {
  const out = [];
  const root = document.documentElement;
  if (root.scrollWidth > root.clientWidth) out.push(`the page is ${root.scrollWidth} wide`);
  for (const svg of document.querySelectorAll('svg')) {
    const frame = svg.getBoundingClientRect();
    if (frame.width === 0) continue;
    const name = (svg.getAttribute('aria-label') || svg.querySelector('title')?.textContent || '').slice(0, 60);
    if (!name) out.push('a figure has no text for those who cannot see it');
    const texts = [...svg.querySelectorAll('text')].filter(t => !t.closest('[transform^="rotate"]'));
    const boxes = texts.map(t => {
      const b = t.getBoundingClientRect();
      const room = b.height * 0.2;  // ascenders and descenders that most words lack
      return {text: t.textContent, left: b.left, right: b.right, top: b.top + room, bottom: b.bottom - room};
    });
    for (const b of boxes) {
      const across = b.left < frame.left - 0.5 || b.right > frame.right + 0.5;
      if (across || b.top < frame.top - 0.5 || b.bottom > frame.bottom + 0.5)
        out.push(`${name}: "${b.text}" leaves the figure`);
    }
    for (let i = 0; i < boxes.length; i++) for (let j = 0; j < i; j++) {
      const a = boxes[i], b = boxes[j];
      if (a.left < b.right - 0.5 && b.left < a.right - 0.5 && a.top < b.bottom - 0.5 && b.top < a.bottom - 0.5)
        out.push(`${name}: "${a.text}" overlaps "${b.text}"`);
    }
  }
  return out;
}
"""


def look(page: Page, path: Path, width: int, theme: str, out: Path | None) -> list[str]:
    found: list[str] = []
    address = path.resolve().as_uri()

    def asked(request: Request) -> None:
        if request.url != address and not request.url.startswith("data:"):
            found.append(f"asks for {request.url}")

    def said(message: ConsoleMessage) -> None:
        found.append(f"console: {message.text}")

    page.on("request", asked)
    page.on("console", said)
    page.on("pageerror", lambda error: found.append(f"error: {error}"))
    page.goto(address)
    found += page.evaluate(PROBLEMS)
    if out:
        page.screenshot(path=out / f"{path.stem}-{width}-{theme}.png", full_page=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("reports", nargs="+", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--chromium", default=shutil.which("chromium") or shutil.which("chromium-browser"))
    arguments = parser.parse_args()
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
    failed = False
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=arguments.chromium, args=["--no-sandbox"])
        for path, width, theme in itertools.product(arguments.reports, WIDTHS, THEMES):
            page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=theme)
            for problem in look(page, path, width, theme, arguments.out):
                print(f"{path} at {width} pixels, {theme}: {problem}")
                failed = True
            page.close()
        browser.close()
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
