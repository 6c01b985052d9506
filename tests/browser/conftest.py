from tests.browser.chromium import axe, browser

__all__ = ["axe", "browser"]
