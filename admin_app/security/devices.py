"""Browser and system in words, from what a browser says of itself: a hint for people, proof of nothing."""

UNKNOWN = "Unknown device"

BROWSERS = (
    # Most claim to be Chrome or Safari, too: the first that fits is the one.
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Vivaldi/", "Vivaldi"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
)
SYSTEMS = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows NT", "Windows"),
    ("Macintosh", "Mac"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
)


def device(user_agent: str | None) -> str:
    """Such as "Firefox on Linux"."""
    text = user_agent or ""
    if not text.startswith("Mozilla/5.0 ("):  # every browser does, and few others
        return UNKNOWN
    browser = next((name for mark, name in BROWSERS if mark in text), None)
    system = next((name for mark, name in SYSTEMS if mark in text), None)
    return " on ".join(filter(None, (browser, system))) or UNKNOWN
