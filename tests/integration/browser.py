"""A headless Chromium that uses Airflow's UI as a person would: it clicks what can be seen, and waits for what is to come."""

import os
import shutil
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from selenium.common.exceptions import (
    ElementClickInterceptedException,
    ElementNotInteractableException,
    NoSuchElementException,
    StaleElementReferenceException,
)
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

#: Set to a folder, this makes the tests leave pictures of what they see there: those of the documentation.
PICTURES = "DISTKERAS_PICTURES"
SECONDS = 300
_NOT_YET = (
    NoSuchElementException,
    StaleElementReferenceException,
    ElementNotInteractableException,
    ElementClickInterceptedException,
)
_OPTIONS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--window-size=1280,900", "--lang=en",
)  # fmt: skip


class Browser:
    """One window, and the Airflow that it looks at."""

    def __init__(self, driver, url):
        self.driver = driver
        self.url = url

    def open(self, path):
        self.driver.get(f"{self.url}{path}")

    def log_in(self, user, password):
        """Through the login page, to which whoever is not logged in is sent."""
        self.open("/")
        self.fill("input[name=username]", user)
        self.fill("input[name=password]", password)
        self.click("button[type=submit]")
        self.wait(lambda: "/auth/login" not in self.driver.current_url)

    def wait(self, condition, seconds=SECONDS):
        """Return what `condition` returns, once it is true; an element that is missing or being redrawn is looked up again."""
        return WebDriverWait(self.driver, seconds, 0.25, ignored_exceptions=_NOT_YET).until(lambda _: condition())

    def find(self, css, seconds=SECONDS):
        """An element that can be seen."""

        def seen():
            return next((element for element in self.driver.find_elements(By.CSS_SELECTOR, css) if element.is_displayed()), None)

        return self.wait(seen, seconds)

    def find_text(self, text, tag="*", seconds=SECONDS):
        """An element with exactly this text."""
        path = f"//{tag}[normalize-space(.)='{text}']"

        def seen():
            return next((element for element in self.driver.find_elements(By.XPATH, path) if element.is_displayed()), None)

        return self.wait(seen, seconds)

    def click(self, css):
        self.wait(lambda: self.find(css).click() or True)

    def click_text(self, text, tag="*"):
        self.wait(lambda: self.find_text(text, tag).click() or True)

    def fill(self, css, text):
        """Replace what is in a field, as by pasting: the driver has no key for a brace."""

        def replaced():
            field = self.find(css)
            field.send_keys(Keys.CONTROL, "a")
            self.driver.execute_cdp_cmd("Input.insertText", {"text": text})
            return field.get_attribute("value") == text

        self.wait(replaced)

    def pick_date(self, number, date):
        """Choose a date in one of the fields for dates that can be seen, counted from 0."""
        self.wait(lambda: self.driver.find_elements(By.CSS_SELECTOR, "[data-testid=datetime-input]")[number].click() or True)
        self.fill("input[placeholder='YYYY/MM/DD']", date)
        self.find("input[placeholder='YYYY/MM/DD']").send_keys(Keys.ESCAPE)
        self.wait(lambda: not self.driver.find_elements(By.CSS_SELECTOR, "input[placeholder='YYYY/MM/DD']"))

    def write_list(self, css, items):
        """Replace the list that is in an editor of JSON; the bracket that opens it comes last, for it would be closed at once."""
        self.click(f"{css} .view-lines")
        keys = ActionChains(self.driver).key_down(Keys.CONTROL).send_keys("a").key_up(Keys.CONTROL)
        keys.send_keys(" ", f"{items}]", Keys.HOME, "[").perform()
        self.wait(lambda: "".join(self.find(f"{css} .view-lines").text.split()) == f"[{''.join(items.split())}]")

    def text(self):
        """All that can be read in the window or in the frame that was entered."""
        return self.driver.find_element(By.TAG_NAME, "body").text

    @contextmanager
    def frame(self, css):
        """Inside an iframe of the page."""
        self.driver.switch_to.frame(self.find(css))
        try:
            yield
        finally:
            self.driver.switch_to.default_content()

    def picture(self, name, size=(1280, 900)):
        """Save a picture of the window, where pictures are requested."""
        if os.environ.get(PICTURES):
            Path(os.environ[PICTURES]).mkdir(parents=True, exist_ok=True)
            self.driver.set_window_size(*size)
            time.sleep(2)  # what moves has come to rest
            self.driver.save_screenshot(str(Path(os.environ[PICTURES]) / f"{name}.png"))


def require_chromium():
    """The browser and its driver; where there are none, the test is skipped, or fails in CI."""
    binary, driver = (shutil.which(name) for name in ("chromium", "chromedriver"))
    if binary is None or driver is None:
        reason = "needs chromium and chromedriver (Debian: apt-get install chromium chromium-driver)"
        assert not os.environ.get("CI"), reason
        pytest.skip(reason)
    return binary, driver


@contextmanager
def chromium(url, profile):
    """A browser on an empty profile."""
    binary, driver = require_chromium()
    options = ChromeOptions()
    options.binary_location = binary
    for option in (*_OPTIONS, f"--user-data-dir={profile}"):
        options.add_argument(option)
    chrome = Chrome(options=options, service=Service(driver))
    try:
        yield Browser(chrome, url)
    finally:
        chrome.quit()
