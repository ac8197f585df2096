"""The atlas in a real browser: Debian's Chromium, a real server, a tape of the built-in model.

One browser and one server serve all these tests. What a page must never do (an error, a request to
anywhere else, a dialog) fails whichever test it happens in.
"""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from lookbehind.atlas.serving import Viewing, view
from lookbehind.tape import Tape, load

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
PATIENCE = 20_000  # ms; a busy machine is no fault of the page
expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope="session")
def browser_type_launch_args() -> dict:
    """What pytest-playwright starts: the browser of this machine. It is never skipped for want of one."""
    named = os.environ.get("LOOKBEHIND_CHROMIUM")
    found = named or next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None or not Path(found).is_file():
        pytest.fail("the browser tests need Chromium: apt-get install chromium, or set LOOKBEHIND_CHROMIUM")
    return {"executable_path": found, "args": list(ARGUMENTS)}


@pytest.fixture(scope="session")
def browser_context_args() -> dict:
    return {"viewport": {"width": 1400, "height": 900}, "color_scheme": "light"}


@pytest.fixture(scope="session")
def recorded(tmp_path_factory) -> Path:
    """What the built-in decoder looked at while it read the beginning of a Python file and wrote on."""
    from lookbehind.cli.record import record_run
    from lookbehind.model import demo_text
    from lookbehind.model import load as load_model

    model, tokenizer = load_model()
    out = tmp_path_factory.mktemp("browser") / "run.tape"
    record_run(model, tokenizer, demo_text()[:2100], out, 6)
    return out


@pytest.fixture(scope="session")
def tape(recorded) -> Tape:
    return load(recorded)


@pytest.fixture(scope="session")
def viewing(recorded) -> Iterator[Viewing]:
    with view(load(recorded), open_browser=False) as one:
        yield one


@pytest.fixture
def watched(context: BrowserContext) -> Iterator[Callable[[Page], list[str]]]:
    """Begins to watch a page; what it did that it must not is asked for at the end."""
    faults: dict[Page, list[str]] = {}

    def watch(page: Page) -> list[str]:
        mine = faults.setdefault(page, [])
        page.set_default_timeout(PATIENCE)
        page.on("pageerror", lambda error: mine.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (mine.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("console", lambda said: said.type == "error" and mine.append(f"console: {said.text}"))
        page.on(
            "request",
            lambda asked: (
                asked.url.startswith(("http://127.0.0.1:", "file:", "blob:", "data:"))
                or mine.append(f"request: {asked.url}")
            ),
        )
        return mine

    yield watch
    for page, mine in faults.items():
        assert mine == [], page.url


@pytest.fixture
def atlas(page: Page, viewing, watched) -> Callable[[str], Page]:
    """Opens an address of the atlas, as a person would who was sent it."""
    watched(page)

    def opened(address: str) -> Page:
        page.goto("about:blank")
        page.goto(viewing.url + address)
        return page

    return opened


def exact(page: Page) -> None:
    """Until the map in sight is there, exactly."""
    page.locator('.figure[data-state="exact"]').wait_for()


def until(page: Page, expression: str) -> None:
    """Until a JavaScript expression is true: the page's policy forbids Playwright's own way of waiting."""
    end = time.monotonic() + PATIENCE / 1000
    while not page.evaluate(expression):
        assert time.monotonic() < end, expression
        page.wait_for_timeout(20)
